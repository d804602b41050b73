"""Tuning the last blocks of a tower: memory, precision, adapters. Real SigLIP classes, tiny."""

import pytest
import torch
from support.checkpoints import VISION
from torch.nn import functional

from triage_agent.domain.errors import ConfigurationError
from triage_agent.learning.crops import Lesions
from triage_agent.learning.fit import Fitter, Pass, Samples
from triage_agent.learning.lora import PREFIX, attach, merge
from triage_agent.learning.memory import checkpointed
from triage_agent.learning.network import Network
from triage_agent.learning.recipe import FINE_TUNED, LORA
from triage_agent.models.bundle import HeadSpec
from triage_agent.models.compact import CompactEncoder
from triage_agent.models.siglip import SiglipEncoder

SIDE = VISION["image_size"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def encoder():
    return SiglipEncoder({**VISION, "attention_dropout": 0.2, "pooling": "mean"})


def network(encoder, unfreeze=2, **options):
    spec = HeadSpec(kind="mlp", input_dim=32, hidden=(8,), dropout=0.3)
    return Network(encoder, spec, levels=0, unfreeze=unfreeze, **options).train()


def gradients(one, batch):
    torch.manual_seed(5)
    one.zero_grad(set_to_none=True)
    loss = functional.binary_cross_entropy_with_logits(one(batch)[:, 0], torch.tensor([1.0, 0.0, 1.0]))
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in one.named_parameters() if p.grad is not None}


def test_checkpointed_blocks_give_the_same_loss_and_gradients_with_dropout(encoder):
    one, batch = network(encoder), torch.randn(3, 3, SIDE, SIDE)
    calls = []
    one.tuned[0].layer_norm2.register_forward_hook(lambda *_: calls.append(1))
    loss, plain = gradients(one, batch)
    assert len(calls) == 1
    with checkpointed(one.tuned):
        again, recomputed = gradients(one, batch)
    assert len(calls) == 3  # forward, and once more on the way back
    assert torch.equal(loss, again)
    assert plain.keys() == recomputed.keys()
    assert any("layers.1" in name for name in plain)
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    assert not any("forward" in vars(block) for block in one.tuned)


def test_blocks_with_batch_norm_are_not_computed_twice():
    compact = CompactEncoder({"image_size": 32, "widths": [4, 8], "depths": [1, 1]})
    with checkpointed(compact.blocks()):
        assert not any("forward" in vars(block) for block in compact.blocks())


def test_in_bfloat16_weights_gradients_and_logits_stay_float32(encoder):
    one, seen = network(encoder), []
    one.tuned[-1].mlp.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = one(torch.randn(2, 3, SIDE, SIDE))
    functional.binary_cross_entropy_with_logits(logits.float()[:, 0], torch.tensor([1.0, 0.0])).backward()
    assert seen == [torch.bfloat16]
    learned = [parameter for parameter in one.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in learned} == {torch.float32}
    assert {parameter.grad.dtype for parameter in learned} == {torch.float32}


def bright_and_dark(count=24):
    images = torch.randint(60, 120, (count, 1, SIDE, SIDE), dtype=torch.uint8)
    labels = (torch.arange(count) % 2).float()[:, None]
    images[1::2, :, 10:30, 10:40] += 100
    return images, labels


def fitted(one, tmp_path, recipe, epochs=6):
    images, labels = bright_and_dark()
    indices, none = torch.arange(24), torch.zeros(0, dtype=torch.long)
    lesions = Lesions(torch.zeros(24, 4), none, none, none)
    samples = Samples(images, labels, indices[:16], none, indices[16:], lesions)
    changes = {"batch_size": 8, "epochs": epochs, "learning_rate": 0.01, "patience": 0, "warmup_epochs": 0.0}
    fitter = Fitter(
        one,
        samples,
        recipe.model_copy(update=changes | {"encoder_learning_rate": 0.005}),
        passes=[Pass(SIDE)] * epochs,
        seed=0,
        checkpoint=tmp_path / "checkpoint.pt",
        identity="test",
    )
    return fitter.run(resume=False, progress=lambda *_: None)


def test_adapters_learn_are_merged_and_leave_every_other_weight_alone(encoder, tmp_path):
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    batch = torch.randn(3, 3, SIDE, SIDE)
    untouched = encoder.eval()(batch)
    adapters = attach(encoder, rank=2, blocks=2)
    one = network(encoder, only=PREFIX)
    assert torch.allclose(encoder.eval()(batch), untouched, atol=1e-6)
    learned = [name for name, parameter in one.named_parameters() if parameter.requires_grad]
    assert {name.split(".")[-3] for name in learned if not name.startswith("head")} == {"lora_A", "lora_B"}
    history = fitted(one, tmp_path, LORA)
    assert history[-1].loss < history[0].loss
    assert max(epoch.held_back_auroc for epoch in history) > 0.8
    with torch.inference_mode():
        adapted = one.eval()(batch)
        merge(adapters)
        assert torch.allclose(one(batch), adapted, atol=1e-5)
    after = encoder.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {
        f"tower.encoder.layers.{layer}.self_attn.{part}.weight" for layer in (1, 2) for part in ("q_proj", "v_proj")
    }


def test_without_a_number_of_blocks_adapters_go_into_all_of_them(encoder):
    attach(encoder, rank=2, blocks=0)
    adapted = {name.split(".layers.")[1][0] for name in encoder.state_dict() if "lora_A" in name}
    assert adapted == {"0", "1", "2"}


def test_an_encoder_without_attention_cannot_be_adapted():
    with pytest.raises(ConfigurationError, match="no attention to adapt"):
        attach(CompactEncoder({"image_size": 32, "widths": [4, 8], "depths": [1, 1]}), rank=2, blocks=0)


def test_unfrozen_blocks_learn_and_the_time_left_is_told(encoder, tmp_path):
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    history = fitted(network(encoder, unfreeze=1), tmp_path, FINE_TUNED)
    assert history[-1].loss < history[0].loss
    assert max(epoch.held_back_auroc for epoch in history) > 0.8
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(".layers.2." in name for name in changed)
