"""MedSigLIP's prompts and MedGemma's question: what their scores are, on the real classes."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file, save_file
from support.checkpoints import BOI, IMAGE, gemma_tokenizer, write_gemma, write_siglip
from transformers import Gemma3ForConditionalGeneration, PreTrainedTokenizerFast, SiglipModel

from triage_agent.domain.errors import BundleError
from triage_agent.learning.zero_shot import UNVALIDATED, ZeroShotOptions, make_zero_shot
from triage_agent.models import runner
from triage_agent.models.bundle import load_bundle, verify, write_bundle
from triage_agent.models.chat import Chat
from triage_agent.models.explain import load_explainer
from triage_agent.models.scorer import load_scorer
from triage_agent.models.siglip import pad_and_resize

SINGLE = """
[default]
name = "bone"
question = "does this radiograph of {region} show a fracture?"
abnormal = ["a radiograph of {region} with a fracture"]
normal = ["a normal radiograph of {region}"]
[regions.XR_KNEE]
name = "a knee"
[regions.XR_WRIST]
name = "a wrist"
abnormal = ["an abnormal x ray of {region}", "a radiograph of {region} with hardware"]
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("checkpoints")
    return {"prompts": write_siglip(folder / "medsiglip-448"), "question": write_gemma(folder / "medgemma-4b-it")}


@pytest.fixture(scope="module")
def made(checkpoints, tmp_path_factory):
    """A bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "prompts.toml").write_text(SINGLE)
    return {kind: make(source, folder / kind, prompts=folder / "prompts.toml") for kind, source in checkpoints.items()}


@pytest.fixture(params=["prompts", "question"])
def kind(request):
    return request.param


@pytest.fixture
def bundle(made, kind):
    return made[kind]


def make(source, out, **options):
    return make_zero_shot(ZeroShotOptions(encoder=str(source), out=out, **options), lambda _line: None)


def pictures(n):
    rng = np.random.default_rng(0)
    return [rng.random((int(rng.integers(20, 90)), int(rng.integers(20, 90))), dtype=np.float32) for _ in range(n)]


def pixels(picture):
    return ((pad_and_resize(picture, 56) - 0.5) / 0.5).expand(3, -1, -1)[None]


def test_a_logit_of_single_prompts_is_the_difference_of_the_whole_models_logits(made, checkpoints):
    model = SiglipModel.from_pretrained(checkpoints["prompts"]).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoints["prompts"])
    sentences = ["a radiograph of a knee with a fracture", "a normal radiograph of a knee"]
    ids = tokenizer(sentences, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    scorer = load_scorer(made["prompts"], "cpu")

    for picture in pictures(3):
        with torch.inference_mode():
            abnormal, normal = model(input_ids=ids, pixel_values=pixels(picture)).logits_per_image[0]
        assert scorer.logits([picture], ["XR_KNEE"])[0] == pytest.approx(float(abnormal - normal), abs=2e-5)
        probability = scorer.score([picture], ["XR_KNEE"])[0].probability
        assert probability == pytest.approx(float(torch.stack([abnormal, normal]).softmax(0)[0]), abs=1e-5)


def test_several_prompts_of_a_class_are_averaged_on_the_sphere(made, checkpoints):
    model = SiglipModel.from_pretrained(checkpoints["prompts"]).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoints["prompts"])

    def embedded(*sentences):
        ids = tokenizer(list(sentences), padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            texts = torch.nn.functional.normalize(model.text_model(input_ids=ids).pooler_output, dim=-1)
        return torch.nn.functional.normalize(texts.mean(0), dim=-1)

    rows = load_file(made["prompts"] / "head.safetensors")["prompts"]
    expected = embedded("an abnormal x ray of a wrist", "a radiograph of a wrist with hardware")

    assert rows.shape == (3, 2, 32)
    assert torch.allclose(rows[2, 0], expected, atol=1e-6)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(3, 2), atol=1e-6)


def test_a_logit_of_a_question_is_yes_against_no_of_a_plain_forward_pass(made, checkpoints):
    model = Gemma3ForConditionalGeneration.from_pretrained(checkpoints["question"]).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(checkpoints["question"])
    text = (
        "<bos><start_of_turn>user\n\n\n<start_of_image>" + "<image_soft_token>" * 4 + "<end_of_image>\n\n"
        "does this radiograph of a knee show a fracture?<end_of_turn>\n<start_of_turn>model\n"
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    yes, no = (tokenizer.convert_tokens_to_ids(words) for words in (["yes", "Yes"], ["no", "No", "NO"]))
    scorer = load_scorer(made["question"], "cpu")

    for picture in pictures(3):
        with torch.inference_mode():
            output = model(input_ids=ids, pixel_values=pixels(picture), token_type_ids=(ids == IMAGE).long())
        shares = output.logits[0, -1].double().softmax(0)
        expected = (shares[yes].sum().log() - shares[no].sum().log()).item()
        assert scorer.logits([picture], ["XR_KNEE"])[0] == pytest.approx(expected, abs=2e-5)


def test_the_spelt_out_conversation_is_that_of_gemmas_template(checkpoints, tmp_path):
    templated = Chat.from_checkpoint(checkpoints["question"]).prompt("does this show a fracture?")
    plain = Chat.from_checkpoint(write_gemma(tmp_path / "plain", chat=None)).prompt("does this show a fracture?")

    assert torch.equal(templated, plain)
    assert (templated == IMAGE).sum() == 4
    assert (templated == BOI).sum() == 1


def test_every_single_token_that_spells_an_answer_counts(made):
    question = load_bundle(made["question"]).spec.zero_shot

    assert set(question.yes) == {"yes", "Yes"}
    assert set(question.no) == {"no", "No", "NO"}


def test_a_tokenizer_without_an_answer_or_without_image_tokens_is_refused(checkpoints, tmp_path):
    folder = write_gemma(tmp_path / "mute", answers=("yes",))
    with pytest.raises(BundleError, match="no token for 'no'"):
        make(folder, tmp_path / "bundle")
    gemma_tokenizer(("yes", "no"), "{{ bos_token }}").save_pretrained(folder)
    with pytest.raises(BundleError, match="does not place one image"):
        make(folder, tmp_path / "bundle")


def test_regions_have_scores_of_their_own_and_others_the_defaults(bundle):
    scorer = load_scorer(bundle, "cpu")
    picture = pictures(1)[0]
    knee, wrist, none, hip = scorer.logits([picture] * 4, ["XR_KNEE", "XR_WRIST", None, "XR_HIP"])

    assert len({knee, wrist, none}) == 3
    assert none == hip == scorer.logits([picture])[0]


def test_an_image_scores_the_same_in_any_order_and_company(bundle):
    scorer = load_scorer(bundle, "cpu")
    shown, regions = pictures(5), ["XR_KNEE", None, "XR_WRIST", "XR_KNEE", "XR_FOOT"]
    together = scorer.score(shown, regions)

    assert len(set(together)) == 5
    assert scorer.score(shown[::-1], regions[::-1]) == together[::-1]
    assert [scorer.score([one], [region])[0] for one, region in zip(shown, regions, strict=True)] == together
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda at: scorer.score([shown[at]], [regions[at]])[0], range(5))) == together
    assert scorer.score([]) == []


def test_a_bundle_is_whole_says_what_it_is_and_runs_where_others_run(bundle, kind):
    loaded = load_bundle(bundle)
    scorer = runner.start("local", str(bundle), runner.Placement(device="cpu"))

    assert verify(bundle) == []
    assert loaded.spec.head.kind == loaded.spec.zero_shot.kind == kind
    assert UNVALIDATED in loaded.identity.notice
    assert UNVALIDATED in loaded.model_card
    assert "HAI-DEF is provided under" in loaded.spec.notice
    assert "Health AI Developer Foundations" in loaded.spec.licence
    assert loaded.identity.clinical_use is False
    assert loaded.identity.anatomies == ("XR_KNEE", "XR_WRIST")
    assert (loaded.identity.threshold, loaded.identity.alert) == (0.5, 0.9)
    assert scorer.identity == loaded.identity


def test_other_words_are_another_bundle(made, checkpoints, tmp_path, kind):
    (tmp_path / "p.toml").write_text(SINGLE.replace("a fracture", "a dislocation"))
    other = make(checkpoints[kind], tmp_path / "bundle", prompts=tmp_path / "p.toml")

    assert load_bundle(other).digest != load_bundle(made[kind]).digest
    assert load_bundle(other).spec.files["head.safetensors"] != load_bundle(made[kind]).spec.files["head.safetensors"]


@pytest.mark.parametrize("where", ["sentence", "tensor"])
def test_changed_prompts_are_refused(bundle, tmp_path, where):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    if where == "sentence":
        text = (folder / "bundle.json").read_text()
        (folder / "bundle.json").write_text(text.replace("fracture", "elephant"))
    else:
        changed = {name: tensor + 1 for name, tensor in load_file(folder / "head.safetensors").items()}
        save_file(changed, folder / "head.safetensors")

    with pytest.raises(BundleError, match="was changed"):
        load_scorer(folder, "cpu")


def test_another_checkpoint_than_the_recorded_one_is_refused(tmp_path, kind):
    write = {"prompts": write_siglip, "question": write_gemma}[kind]
    (tmp_path / "p.toml").write_text(SINGLE)
    bundle = make(write(tmp_path / "medsiglip"), tmp_path / "bundle", prompts=tmp_path / "p.toml")
    write(tmp_path / "medsiglip", seed=7)

    complaint = {"prompts": "the bundle was trained on", "question": "model.safetensors .* are not the files"}[kind]
    with pytest.raises(BundleError, match=complaint):
        load_scorer(bundle, "cpu")


def test_a_checkpoint_that_a_site_keeps_elsewhere_is_found(made, checkpoints, tmp_path, kind):
    (tmp_path / "moved").symlink_to(checkpoints[kind])
    moved = load_bundle(made[kind])
    lost = moved.spec.model_copy(
        update={"encoder": moved.spec.encoder.model_copy(update={"source": str(tmp_path / "gone")})}
    )
    folder = write_bundle(tmp_path / "bundle", lost, load_file(moved.head_path), None, "")
    with pytest.raises(BundleError, match="there is no folder"):
        load_scorer(folder, "cpu")

    picture = pictures(1)
    found = load_scorer(folder, "cpu", encoder_source=str(tmp_path / "moved"))
    assert found.score(picture) == load_scorer(made[kind], "cpu").score(picture)


def test_a_language_model_with_a_hole_is_refused_though_its_files_are_the_recorded_ones(tmp_path):
    folder = write_gemma(tmp_path / "medgemma")
    state = load_file(folder / "model.safetensors")
    lost = next(name for name in state if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({name: tensor for name, tensor in state.items() if name != lost}, folder / "model.safetensors")

    with pytest.raises(BundleError, match=r"lacks .*up_proj"):
        load_scorer(make(folder, tmp_path / "bundle"), "cpu")


def test_a_checkpoint_without_a_tokenizer_gives_one_line(tmp_path, kind):
    folder = {"prompts": write_siglip, "question": write_gemma}[kind](tmp_path / "medsiglip")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(BundleError, match=r"neither tokenizer\.json nor spiece\.model"):
        make(folder, tmp_path / "bundle")


def test_a_prompt_that_the_tower_would_cut_off_is_refused(checkpoints, tmp_path):
    (tmp_path / "p.toml").write_text(SINGLE.replace("a normal radiograph of", "a normal radiograph of " * 5))

    with pytest.raises(BundleError, match="the text tower reads 16"):
        make(checkpoints["prompts"], tmp_path / "bundle", prompts=tmp_path / "p.toml")


def test_a_tower_alone_has_no_words(checkpoints, tmp_path):
    config = json.loads((checkpoints["prompts"] / "config.json").read_text())
    SiglipModel.from_pretrained(checkpoints["prompts"]).vision_model.save_pretrained(tmp_path / "siglip")
    assert "text_config" in config

    with pytest.raises(BundleError, match="has no text tower"):
        make(tmp_path / "siglip", tmp_path / "bundle")


@pytest.mark.parametrize("source", ["google/medsiglip-448", "google/medgemma-4b-it@0123abc"])
def test_a_hub_id_whose_terms_were_not_accepted_gives_one_line(source, tmp_path, monkeypatch):
    def gated(*_args, **_options):
        raise errors.GatedRepoError("403", response=SimpleNamespace(status_code=403, headers={}, request=None))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    with pytest.raises(BundleError, match=r"accept the terms at https://huggingface\.co/google/med") as caught:
        make(source, tmp_path / "bundle")
    assert "\n" not in str(caught.value)


def test_a_pinned_hub_revision_is_what_is_read_and_recorded(checkpoints, kind, tmp_path, monkeypatch):
    commit = tmp_path / "snapshots" / ("0" * 40)
    commit.parent.mkdir()
    commit.symlink_to(checkpoints[kind])
    asked = []

    def download(source, revision, allow_patterns):
        asked.append((source, revision, allow_patterns))
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    source = {"prompts": "google/medsiglip-448", "question": "google/medgemma-4b-it"}[kind]
    spec = load_bundle(make(f"{source}@main", tmp_path / "bundle")).spec

    assert (spec.encoder.source, spec.encoder.revision) == (source, "0" * 40)
    assert asked[0] == (source, "main", ["config.json", "model.safetensors.index.json"])
    assert any("tokenizer.json" in patterns for _, _, patterns in asked)
    assert load_scorer(tmp_path / "bundle", "cpu").score(pictures(1), ["XR_KNEE"])
    assert asked[-1][:2] == (source, "0" * 40)


def test_a_map_of_a_zero_shot_score_is_refused_in_one_line(bundle):
    with pytest.raises(BundleError, match="no head whose map could be drawn"):
        load_explainer(load_bundle(bundle), "cpu")
