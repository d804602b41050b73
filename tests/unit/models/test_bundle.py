import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from triage_agent.domain.errors import BundleError
from triage_agent.models.bundle import load_bundle, verify, write_bundle


def test_a_written_bundle_loads_with_everything_it_was_given(bundle_folder, spec, head_state):
    bundle = load_bundle(bundle_folder)

    assert verify(bundle_folder) == []
    assert bundle.spec.model_copy(update={"files": {}, "digest": ""}) == spec
    assert set(bundle.spec.files) == {"head.safetensors", "encoder.safetensors", "MODEL_CARD.md"}
    assert bundle.model_card == "# Tiny\n"
    stored = load_file(bundle.head_path)
    assert all(torch.equal(stored[name], tensor) for name, tensor in head_state.items())


def test_the_identity_says_what_outputs_need(bundle_folder):
    bundle = load_bundle(str(bundle_folder))
    identity = bundle.identity

    assert (identity.name, identity.version, identity.anatomies) == ("tiny", "1.0.0", ("XR_KNEE",))
    assert (identity.threshold, identity.alert, identity.clinical_use) == (0.4, 0.8, False)
    assert identity.notice == "not for clinical use"
    assert identity.digest == bundle.digest
    assert len(identity.digest) == 64


def test_the_same_content_has_the_same_digest_and_any_other_has_another(
    tmp_path, bundle_folder, spec, head_state, encoder
):
    def digest(name, changed_spec=spec, card="# Tiny\n", head=head_state):
        return load_bundle(write_bundle(tmp_path / name, changed_spec, head, encoder.state_dict(), card)).digest

    first = load_bundle(bundle_folder).digest
    other_head = {name: tensor + 1 for name, tensor in head_state.items()}

    assert digest("same") == first
    assert digest("card", card="# Other\n") != first
    assert digest("head", head=other_head) != first
    assert digest("spec", changed_spec=spec.model_copy(update={"version": "1.0.1"})) != first


@pytest.mark.parametrize("name", ["head.safetensors", "encoder.safetensors", "MODEL_CARD.md"])
def test_a_changed_file_is_refused_and_named(bundle_folder, name):
    content = bytearray((bundle_folder / name).read_bytes())
    content[-1] ^= 1
    (bundle_folder / name).write_bytes(content)

    assert verify(bundle_folder) == [f"{name} was changed: it does not match its digest"]
    with pytest.raises(BundleError, match=f"{name} was changed.*; restore the bundle"):
        load_bundle(bundle_folder)


def test_a_changed_description_is_refused(bundle_folder):
    path = bundle_folder / "bundle.json"
    path.write_text(path.read_text().replace('"abnormal": 0.4', '"abnormal": 0.6'))

    with pytest.raises(BundleError, match=r"bundle\.json was changed"):
        load_bundle(bundle_folder)


def test_a_description_that_is_only_laid_out_anew_is_still_the_same_bundle(bundle_folder):
    digest = load_bundle(bundle_folder).digest
    path = bundle_folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))

    assert load_bundle(bundle_folder).digest == digest


def test_missing_and_foreign_files_are_both_reported(bundle_folder):
    (bundle_folder / "head.safetensors").unlink()
    (bundle_folder / "run_me.bin").write_bytes(b"x")

    assert verify(bundle_folder) == [
        "head.safetensors is missing or not a plain file",
        "run_me.bin does not belong to the bundle",
    ]


def test_a_link_does_not_stand_for_a_file(tmp_path, bundle_folder):
    card = bundle_folder / "MODEL_CARD.md"
    card.rename(tmp_path / "elsewhere.md")
    card.symlink_to(tmp_path / "elsewhere.md")

    assert verify(bundle_folder) == ["MODEL_CARD.md is missing or not a plain file"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"format_version": 2}, "format_version: Input should be 1"),
        ({"files": {"../head.safetensors": "0" * 64}}, "files"),
        ({"thresholds": {"abnormal": 1.5, "alert": 0.9}}, "thresholds.abnormal"),
        ({"calibration": {"kind": "platt", "a": -1.0, "b": 0.0}}, "calibration.a"),
        ({"created": "2026-01-02T00:00:00"}, "created"),
    ],
)
def test_a_description_that_says_something_impossible_is_refused(bundle_folder, change, complaint):
    path = bundle_folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    with pytest.raises(BundleError, match=complaint) as caught:
        load_bundle(bundle_folder)
    assert "\n" not in str(caught.value)


def test_a_required_file_must_be_listed(bundle_folder):
    path = bundle_folder / "bundle.json"
    content = json.loads(path.read_text())
    del content["files"]["head.safetensors"]
    path.write_text(json.dumps(content))

    assert "head.safetensors is not listed in bundle.json" in verify(bundle_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_what_is_no_description_at_all_is_refused(bundle_folder, text):
    (bundle_folder / "bundle.json").write_text(text)

    assert verify(bundle_folder)[0].startswith("bundle.json is not a bundle description")


def test_a_folder_without_a_bundle_is_refused_with_a_remedy(tmp_path):
    assert "give a folder that holds a bundle.json" in verify(tmp_path)[0]
    with pytest.raises(BundleError, match="there is no model bundle at"):
        load_bundle(tmp_path / "nowhere")


def test_an_older_bundle_is_replaced_and_nothing_else_is_left_beside_it(bundle_folder, spec, head_state, encoder):
    newer = spec.model_copy(update={"version": "2.0.0"})

    write_bundle(bundle_folder, newer, head_state, encoder.state_dict(), "# Newer\n")

    assert load_bundle(bundle_folder).spec.version == "2.0.0"
    assert [path.name for path in bundle_folder.parent.iterdir()] == ["bundle"]


def test_a_write_that_fails_leaves_the_older_bundle_and_no_rubble(bundle_folder, spec, head_state):
    digest = load_bundle(bundle_folder).digest

    with pytest.raises(AttributeError):
        write_bundle(bundle_folder, spec, head_state, {"weight": "no tensor"}, "# Broken\n")

    assert load_bundle(bundle_folder).digest == digest
    assert [path.name for path in bundle_folder.parent.iterdir()] == ["bundle"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path, spec, head_state, encoder):
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(BundleError, match="is not a bundle; choose another --out"):
        write_bundle(tmp_path, spec, head_state, encoder.state_dict(), "")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_encoder_source_and_the_given_weights_must_agree(tmp_path, spec, head_state, encoder):
    elsewhere = spec.model_copy(update={"encoder": spec.encoder.model_copy(update={"source": "/models/x"})})

    with pytest.raises(BundleError, match="weights are not given"):
        write_bundle(tmp_path / "b", spec, head_state, None, "")
    with pytest.raises(BundleError, match="weights are given"):
        write_bundle(tmp_path / "b", elsewhere, head_state, encoder.state_dict(), "")


def test_reading_a_bundle_needs_no_torch(bundle_folder):
    code = (
        "import sys; from triage_agent.models.bundle import load_bundle, verify; "
        f"load_bundle({str(bundle_folder)!r}); sys.exit('torch' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
