import pytest
import torch

from triage_agent.domain.errors import BundleError
from triage_agent.models.bundle import EncoderSpec
from triage_agent.models.encoder import weights_digest
from triage_agent.models.registry import REGISTRY, build_encoder, detect_kind, encoder_from_source, tuned_spec


def test_the_compact_encoder_comes_fresh_and_describes_itself():
    encoder, spec = encoder_from_source("compact")

    assert (encoder.kind, spec.kind, spec.source) == ("compact", "compact", "bundle")
    assert (spec.image_size, spec.config) == (encoder.image_size, encoder.config)


def test_kinds_that_need_weights_say_so():
    with pytest.raises(BundleError, match="medgemma needs weights; give their folder or hub id"):
        encoder_from_source("medgemma")


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(BundleError, match="use one of autoencoder, compact, densenet, medgemma, medsiglip, siglip"):
        build_encoder(EncoderSpec(kind="resnet", source="bundle", image_size=32))


def test_weights_in_a_bundle_need_the_bundles_folder():
    with pytest.raises(BundleError, match="give the bundle's folder"):
        build_encoder(EncoderSpec(kind="compact", source="bundle", image_size=32))


def test_a_bundle_rebuilds_its_encoder(bundle_folder, spec, encoder):
    rebuilt = build_encoder(spec.encoder, bundle_folder)

    assert rebuilt.digest() == encoder.digest()


def test_a_hub_id_without_a_pinned_revision_is_refused():
    with pytest.raises(BundleError, match="no revision is pinned for google/medsiglip-448"):
        build_encoder(EncoderSpec(kind="medsiglip", source="google/medsiglip-448", image_size=448))


@pytest.mark.parametrize(
    ("architecture", "source", "kind"),
    [
        ("gemma3", "google/medgemma-4b-pt", "medgemma"),
        ("siglip", "google/medsiglip-448", "medsiglip"),
        ("siglip", "", "siglip"),
        ("siglip_vision_model", "google/siglip-base-patch16-224", "siglip"),
    ],
)
def test_the_architecture_is_read_from_the_config(tmp_path, architecture, source, kind):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{architecture}"}}')

    assert detect_kind(tmp_path, source) == kind


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')

    with pytest.raises(BundleError, match="is a llama model; give a MedGemma"):
        encoder_from_source(str(tmp_path))


def test_tuned_weights_remember_where_they_started(encoder):
    base = EncoderSpec(kind="compact", source="a/b", revision="c" * 40, digest="d" * 64, image_size=32)

    tuned = tuned_spec(encoder, base)
    again = tuned_spec(encoder, tuned)

    assert (tuned.source, tuned.digest) == ("bundle", encoder.digest())
    assert tuned.base.model_dump() == {"source": "a/b", "revision": "c" * 40, "digest": "d" * 64}
    assert again.base == tuned.base


def test_a_digest_sees_values_and_not_how_they_are_stored(encoder):
    digest = weights_digest(encoder)
    rounded = encoder.to(torch.bfloat16).to(torch.float32)
    stored = weights_digest(rounded.to(torch.bfloat16))

    assert weights_digest(rounded.to(torch.float32)) == stored
    assert stored != digest


def test_models_under_somebody_elses_terms_carry_their_notice():
    assert all("HAI-DEF" in REGISTRY[kind].notice for kind in ("medgemma", "medsiglip"))
