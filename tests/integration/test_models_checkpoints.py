"""Checkpoints as transformers writes them: the real Gemma3 and SigLIP classes, tiny, saved and read back."""

import json

import huggingface_hub
import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file
from support.checkpoints import VISION, tiny_gemma, tiny_siglip
from transformers import Gemma3ForConditionalGeneration, SiglipVisionConfig, SiglipVisionModel

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import tower_name
from triage_agent.models.encoder import pooled
from triage_agent.models.medgemma import MedGemmaEncoder
from triage_agent.models.registry import build_encoder, encoder_from_source, tuned_spec
from triage_agent.models.siglip import SiglipEncoder
from triage_agent.models.spec import ENCODER_FILE


@pytest.fixture(scope="module")
def gemma():
    torch.set_num_threads(1)
    return tiny_gemma()


@pytest.fixture(scope="module")
def siglip():
    return tiny_siglip()


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return [rng.random(size, dtype=np.float32) for size in ((70, 40), (56, 56))]


def embed(encoder, pictures):
    with torch.inference_mode():
        return encoder.eval()(torch.stack([encoder.preprocess(picture) for picture in pictures]))


def mean_of_tokens(tower, encoder, pictures):
    with torch.inference_mode():
        pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
        return tower(pixel_values=pixels).last_hidden_state.mean(1)


def saved(model, folder, **options):
    model.save_pretrained(folder, **options)
    return folder


def renamed(folder, rename):
    """The same checkpoint under the names that another version of transformers gives."""
    path = folder / "model.safetensors"
    save_file({rename(name): tensor for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    return folder


@pytest.fixture(params=["one file", "shards", "old names", "oldest names", "prefixed names"])
def gemma_folder(request, gemma, tmp_path):
    if request.param == "shards":
        folder = saved(gemma, tmp_path / "gemma", max_shard_size="20KB")
        assert len(list(folder.glob("*.safetensors"))) > 5
        return folder
    folder = saved(gemma, tmp_path / "gemma")
    names = {
        "one file": lambda name: name,
        "old names": lambda name: name.replace("vision_tower.", "vision_tower.vision_model."),
        "oldest names": lambda name: name.replace("vision_tower.", "model.vision_tower.vision_model."),
        "prefixed names": lambda name: f"model.{name}",
    }
    return renamed(folder, names[request.param])


def test_medgemmas_embedding_is_the_mean_of_its_own_towers_tokens(gemma, gemma_folder, batch):
    encoder, spec = encoder_from_source(str(gemma_folder))

    assert type(encoder) is MedGemmaEncoder
    assert (spec.kind, spec.source, spec.pooling) == ("medgemma", str(gemma_folder), "mean")
    assert (spec.image_size, encoder.embedding_dim, len(encoder.blocks())) == (56, 32, 3)
    assert torch.allclose(embed(encoder, batch), mean_of_tokens(gemma.model.vision_tower, encoder, batch), atol=1e-6)


def test_old_names_are_those_that_transformers_itself_still_reads(gemma, tmp_path, batch):
    folder = renamed(
        saved(gemma, tmp_path / "gemma"), lambda name: name.replace("vision_tower.", "vision_tower.vision_model.")
    )
    theirs = Gemma3ForConditionalGeneration.from_pretrained(folder).eval().model.vision_tower
    encoder, _ = encoder_from_source(str(folder))

    assert torch.allclose(embed(encoder, batch), mean_of_tokens(theirs, encoder, batch), atol=1e-6)


def test_the_digest_does_not_hang_on_shards_names_or_half_precision(gemma, tmp_path):
    rounded = gemma.state_dict()
    whole, _ = encoder_from_source(str(saved(gemma, tmp_path / "a")))
    shards, _ = encoder_from_source(str(saved(gemma, tmp_path / "b", max_shard_size="20KB")))
    assert whole.digest() == shards.digest()

    halves = {name: tensor.to(torch.bfloat16) for name, tensor in rounded.items()}
    back = {name: tensor.to(torch.float32) for name, tensor in halves.items()}
    digests = set()
    for name, state in (("c", halves), ("d", back)):
        gemma.save_pretrained(tmp_path / name, state_dict=state)
        digests.add(encoder_from_source(str(tmp_path / name))[0].digest())
    assert len(digests) == 1
    assert whole.digest() not in digests


def test_no_tensor_of_the_language_model_is_ever_read(gemma_folder, monkeypatch):
    read = []
    genuine = safetensors.safe_open

    class Watched:
        def __init__(self, *args, **options):
            self.file = genuine(*args, **options)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def keys(self):
            return self.file.keys()

        def get_tensor(self, name):
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(safetensors, "safe_open", Watched)
    encoder, _ = encoder_from_source(str(gemma_folder))

    assert len(read) == len(encoder.state_dict())
    assert all("vision_tower" in name for name in read)


def test_shards_without_tower_tensors_need_not_even_be_there(gemma, tmp_path):
    folder = saved(gemma, tmp_path / "gemma", max_shard_size="20KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {shard for name, shard in index.items() if tower_name(name)}
    spare = set(index.values()) - needed
    assert spare
    for shard in spare:
        (folder / shard).unlink()

    assert encoder_from_source(str(folder))[1].kind == "medgemma"


def test_a_tower_that_is_not_complete_is_refused_and_the_hole_named(gemma, tmp_path):
    folder = saved(gemma, tmp_path / "gemma")
    state = load_file(folder / "model.safetensors")
    del state["vision_tower.encoder.layers.1.mlp.fc1.bias"]
    save_file(state, folder / "model.safetensors")

    with pytest.raises(BundleError, match=r"missing tower\.encoder\.layers\.1\.mlp\.fc1\.bias"):
        encoder_from_source(str(folder))


def test_a_config_with_fewer_layers_than_the_weights_is_refused(gemma, tmp_path):
    folder = saved(gemma, tmp_path / "gemma")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 2
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(BundleError, match=r"not expected tower\.encoder\.layers\.2"):
        encoder_from_source(str(folder))


def test_siglips_embedding_is_its_own_pooler_output(siglip, tmp_path, batch):
    encoder, spec = encoder_from_source(str(saved(siglip, tmp_path / "siglip")))
    with torch.inference_mode():
        pixels = torch.stack([encoder.preprocess(picture) for picture in batch])
        expected = siglip.vision_model(pixel_values=pixels).pooler_output

    assert (spec.kind, spec.pooling) == ("siglip", "head")
    assert torch.allclose(embed(encoder, batch), expected, atol=1e-6)


def test_a_vision_tower_saved_alone_is_the_same_encoder(siglip, tmp_path):
    whole, _ = encoder_from_source(str(saved(siglip, tmp_path / "medsiglip-448")))
    alone, spec = encoder_from_source(str(saved(siglip.vision_model, tmp_path / "alone")))

    assert (whole.kind, spec.kind) == ("medsiglip", "siglip")
    assert whole.digest() == alone.digest()


def test_a_siglip_with_a_head_can_be_pooled_by_the_mean_instead(siglip, tmp_path, batch):
    folder = saved(siglip, tmp_path / "siglip")
    encoder = SiglipEncoder.from_checkpoint(folder, "mean")

    assert not any("head" in name for name in encoder.state_dict())
    assert torch.allclose(embed(encoder, batch), mean_of_tokens(siglip.vision_model, encoder, batch), atol=1e-6)


def test_a_siglip_tower_without_a_head_is_pooled_by_the_mean(tmp_path):
    tower = SiglipVisionModel(SiglipVisionConfig(**VISION, vision_use_head=False))

    assert encoder_from_source(str(saved(tower, tmp_path / "tower")))[1].pooling == "mean"


def test_a_bundle_finds_its_base_again_also_where_the_site_moved_it_and_refuses_another(gemma, tmp_path):
    _, spec = encoder_from_source(str(saved(gemma, tmp_path / "base")))
    (tmp_path / "base").rename(tmp_path / "moved")

    with pytest.raises(BundleError, match="there is no folder"):
        build_encoder(spec)
    assert build_encoder(spec, source=str(tmp_path / "moved")).digest() == spec.digest

    path = tmp_path / "moved" / "model.safetensors"
    state = load_file(path)
    state["vision_tower.post_layernorm.bias"] += 1
    save_file(state, path)
    with pytest.raises(BundleError, match="the bundle was trained on"):
        build_encoder(spec, source=str(tmp_path / "moved"))


def test_tuned_blocks_live_in_the_bundle_and_need_no_base(gemma, tmp_path, batch):
    encoder, base = encoder_from_source(str(saved(gemma, tmp_path / "base")))
    with torch.no_grad():
        next(encoder.blocks()[-1].parameters()).mul_(1.5)
    spec = tuned_spec(encoder, base)
    save_file(encoder.state_dict(), tmp_path / ENCODER_FILE)
    for path in (tmp_path / "base").iterdir():
        path.unlink()

    rebuilt = build_encoder(spec, tmp_path)

    assert (spec.base.source, spec.base.digest) == (base.source, base.digest)
    assert spec.digest != base.digest
    assert torch.equal(embed(rebuilt, batch), embed(encoder, batch))


@pytest.mark.parametrize(
    ("change", "complaint"), [({"pooling": "max"}, "no pooling 'max'"), ({"num_channels": 1}, "3 channels")]
)
def test_a_tower_that_cannot_be_built_is_refused(change, complaint):
    with pytest.raises(BundleError, match=complaint):
        SiglipEncoder({**VISION, **change})


def test_a_tower_of_another_architecture_is_refused(tmp_path):
    config = {"model_type": "gemma3", "vision_config": {"model_type": "clip_vision_model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(BundleError, match="clip_vision_model tower"):
        encoder_from_source(str(tmp_path))


def test_a_grid_is_the_mean_of_neighbouring_tokens_row_by_row(gemma, tmp_path, batch):
    folder = str(saved(gemma, tmp_path / "gemma"))
    encoder, spec = encoder_from_source(folder, "grid", 2)
    with torch.inference_mode():
        pixels = torch.stack([encoder.preprocess(picture) for picture in batch])
        tokens = gemma.model.vision_tower(pixel_values=pixels).last_hidden_state  # 4 x 4 of them
    top_right = tokens[:, [2, 3, 6, 7]].mean(1)
    found = embed(encoder, batch)

    assert (spec.pooling, spec.config["grid"], found.shape) == ("grid", 2, (2, 4, 32))
    assert torch.allclose(found[:, 1], top_right, atol=1e-6)
    assert torch.allclose(pooled(found), tokens.mean(1), atol=1e-6)
    assert encoder.digest() == encoder_from_source(folder)[0].digest()
    assert torch.equal(embed(build_encoder(spec), batch), found)


def test_a_grid_is_at_most_as_fine_as_the_patches(gemma, tmp_path):
    folder = str(saved(gemma, tmp_path / "gemma"))

    assert encoder_from_source(folder, "grid")[0].config["grid"] == 4
    with pytest.raises(BundleError, match="a grid of 5 on 4 x 4 patches; set grid to 1 up to 4"):
        encoder_from_source(folder, "grid", 5)


def test_a_hub_id_is_pinned_to_the_commit_that_was_found_and_its_digest_recorded(gemma, tmp_path, monkeypatch):
    folder = saved(gemma, tmp_path / ("c" * 40))
    asked = []

    def snapshot_download(repo_id, *, revision, allow_patterns):
        asked.append((repo_id, revision))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    encoder, spec = encoder_from_source("google/medgemma-4b-pt@v1")

    assert asked == [("google/medgemma-4b-pt", "v1"), ("google/medgemma-4b-pt", "c" * 40)]
    assert (spec.source, spec.revision, spec.digest) == ("google/medgemma-4b-pt", "c" * 40, encoder.digest())
    asked.clear()
    assert build_encoder(spec).digest() == spec.digest
    assert {revision for _, revision in asked} == {"c" * 40}
