"""A MedSigLIP folder whose words are in a sentencepiece model alone, as some copies of it have them."""

import sys
from importlib import resources

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file
from support.checkpoints import write_siglip

from triage_agent.domain.errors import BundleError, MissingPackageError
from triage_agent.learning.zero_shot import ZeroShotOptions, make_zero_shot
from triage_agent.models.bundle import load_bundle, verify
from triage_agent.models.scorer import load_scorer
from triage_agent.models.spec import PromptSet
from triage_agent.models.text import TextTower
from triage_agent.models.tokenizer import load_tokenizer

PROMPTS = """
[default]
name = "bone"
abnormal = ["broken {region}"]
normal = ["{region}"]
[regions.XR_KNEE]
name = "knee"
"""
KNEE = "a normal knee"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A SigLIP with `spiece.model` and no `tokenizer.json`; its model knows letters and a few pieces of words."""
    sentences = resources.files("triage_agent.models").joinpath("prompts.toml").read_text(encoding="utf-8")
    folder = write_siglip(tmp_path_factory.mktemp("medsiglip"))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences.lower().splitlines()),
        model_prefix=str(folder / "spiece"),
        vocab_size=100,
        character_coverage=0.98,
        pad_id=-1,  # as SigLIP's own: </s> is what fills a sentence up
        bos_id=-1,
        eos_id=1,
        unk_id=0,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    return folder


def test_a_sentence_is_cut_as_sentencepiece_itself_cuts_it(checkpoint):
    tower = TextTower.from_checkpoint(checkpoint)
    words = sentencepiece.SentencePieceProcessor(str(checkpoint / "spiece.model"))
    ids = words.encode(KNEE)
    assert 3 <= len(ids) < 16
    assert tower._tokens("A normal knee!").tolist() == ids + [1] * (16 - len(ids))


def test_a_zero_shot_bundle_is_made_of_it_and_scores(checkpoint, tmp_path):
    (tmp_path / "prompts.toml").write_text(PROMPTS)
    options = ZeroShotOptions(encoder=str(checkpoint), out=tmp_path / "bundle", prompts=tmp_path / "prompts.toml")
    folder = make_zero_shot(options, lambda _line: None)
    verify(folder)
    sentences = PromptSet(abnormal=("broken knee",), normal=("knee",))
    expected = TextTower.from_checkpoint(checkpoint).embed(sentences)
    assert torch.allclose(load_file(folder / "head.safetensors")["prompts"][1], expected, atol=1e-6)
    assert not torch.allclose(expected[0], expected[1], atol=1e-2)
    picture = torch.rand(40, 50, generator=torch.Generator().manual_seed(0)).numpy()
    (score,) = load_scorer(load_bundle(folder), "cpu").score([picture], ["XR_KNEE"])
    assert 0.0 < score.probability < 1.0


@pytest.mark.parametrize("package", ["sentencepiece", "google.protobuf"])
def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(checkpoint, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match="zero-shot") as told:
        load_tokenizer(checkpoint)
    assert package.removeprefix("google.") in told.value.message


def test_a_broken_sentencepiece_model_is_told(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"no model")
    with pytest.raises(BundleError, match="cannot be read"):
        load_tokenizer(tmp_path)
