import json
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import save_file

from triage_agent.domain.errors import BundleError
from triage_agent.models.checkpoint import (
    check_names,
    is_hub_id,
    locate,
    read_config,
    read_file,
    read_tensors,
    tower_name,
)


def tower(name):
    return name.removeprefix("tower.") if name.startswith("tower.") else None


def response(status):
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.fixture
def hub(monkeypatch):
    """The narrowest seam to the hub: what `snapshot_download` answers."""

    def answer(result):
        def snapshot_download(repo_id, *, revision, allow_patterns):
            calls.append((repo_id, revision, sorted(allow_patterns)))
            if isinstance(result, Exception):
                raise result
            return str(result)

        calls = []
        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return calls

    return answer


@pytest.fixture
def sharded(tmp_path):
    folder = tmp_path / ("a" * 40)
    folder.mkdir()
    save_file({"tower.x": torch.ones(2), "words.y": torch.ones(9)}, folder / "one.safetensors")
    save_file({"tower.z": torch.zeros(1)}, folder / "two.safetensors")
    save_file({"words.v": torch.zeros(1)}, folder / "three.safetensors")
    index = {"tower.x": "one", "words.y": "one", "tower.z": "two", "words.v": "three"}
    weight_map = {name: f"{shard}.safetensors" for name, shard in index.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_wanted_tensors_come_under_their_new_names_from_every_shard_that_has_one(sharded):
    (sharded / "three.safetensors").unlink()  # holds nothing that is wanted

    assert set(read_tensors(sharded, tower)) == {"x", "z"}


def test_a_missing_shard_is_named(sharded):
    (sharded / "two.safetensors").unlink()

    with pytest.raises(BundleError, match=r"lacks two\.safetensors"):
        read_tensors(sharded, tower)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickled_weights_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")

    with pytest.raises(BundleError, match=r"pickled weights.*save_pretrained"):
        read_tensors(tmp_path, tower)


@pytest.mark.parametrize("shard", ["../one.safetensors", "/etc/passwd", "one.bin", 7])
def test_an_index_cannot_point_outside_its_folder(sharded, shard):
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"tower.x": shard}}))

    with pytest.raises(BundleError, match="download it again"):
        read_tensors(sharded, tower)


def test_a_truncated_file_is_refused(sharded):
    path = sharded / "one.safetensors"
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(BundleError, match="cannot be read"):
        read_file(path)


def test_two_tensors_with_one_meaning_are_refused(tmp_path):
    save_file({"tower.x": torch.ones(1), "x": torch.ones(1)}, tmp_path / "model.safetensors")

    with pytest.raises(BundleError, match="twice"):
        read_tensors(tmp_path, lambda name: name.removeprefix("tower."))


def test_missing_unexpected_and_misshapen_weights_are_all_named():
    found = {"a": torch.ones(1), "b": torch.ones(2)}
    expected = {"b": torch.ones(3), "c": torch.ones(1)}

    with pytest.raises(BundleError, match=r"missing c; not expected a; b is \[2\] instead of \[3\]"):
        check_names("here", found, expected)


def test_long_lists_of_culprits_are_cut():
    with pytest.raises(BundleError, match="and 15 more"):
        check_names("here", {}, {f"w{n:02}": torch.ones(1) for n in range(20)})


@pytest.mark.parametrize("text", ["", "[1]"])
def test_a_folder_without_a_usable_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(BundleError, match="give a checkpoint's folder"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("google/medsiglip-448", True), ("/models/x", False), ("./a/b", False), ("a/b/c", False), ("medgemma", False)],
)
def test_what_reads_as_a_hub_id(source, expected):
    assert is_hub_id(source) is expected


def test_a_local_folder_is_never_asked_of_the_hub(sharded, hub):
    calls = hub(AssertionError("network"))

    assert locate(str(sharded), None, tower) == sharded
    assert calls == []


def test_only_the_shards_with_wanted_tensors_are_downloaded_at_the_commit_found(sharded, hub):
    calls = hub(sharded)

    assert locate("google/medgemma-4b-pt", "main", tower) == sharded
    described = ["config.json", "model.safetensors.index.json"]
    assert calls == [
        ("google/medgemma-4b-pt", "main", described),
        ("google/medgemma-4b-pt", "a" * 40, sorted([*described, "one.safetensors", "two.safetensors"])),
    ]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            errors.GatedRepoError("403", response=response(403)),
            r"accept the terms at https://huggingface\.co/a/b.*HF_TOKEN",
        ),
        (errors.RepositoryNotFoundError("404", response=response(404)), "check the id and revision.*HF_TOKEN"),
        (errors.RevisionNotFoundError("404", response=response(404)), "check the id and revision"),
        (errors.LocalEntryNotFoundError("no cache"), "check the network.*or give a local folder"),
        (errors.OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE"),
        (RuntimeError("an HTTP library's own error"), "check the network"),
    ],
)
def test_a_hub_that_gives_nothing_is_one_line_that_says_what_to_do(hub, error, remedy):
    hub(error)

    with pytest.raises(BundleError, match=remedy) as caught:
        locate("a/b", None, tower)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(BundleError, match="there is no folder"):
        locate("/nowhere/at/all", None, tower)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias", "encoder.layers.0.mlp.fc1.bias"),
        ("model.vision_tower.post_layernorm.weight", "post_layernorm.weight"),
        ("vision_model.head.probe", "head.probe"),
        ("embeddings.patch_embedding.weight", "embeddings.patch_embedding.weight"),
        ("vision_tower.surprise", "surprise"),
        ("vision_model.embeddings.position_ids", None),
        ("text_model.encoder.layers.0.mlp.fc1.bias", None),
        ("text_model.embeddings.token_embedding.weight", None),
        ("language_model.model.layers.0.mlp.up_proj.weight", None),
        ("multi_modal_projector.mm_soft_emb_norm.weight", None),
        ("logit_scale", None),
    ],
)
def test_tower_tensors_are_known_by_their_names(name, inside):
    assert tower_name(name) == inside


def test_a_gated_model_without_network_is_one_line_that_says_what_to_do(tmp_path):
    code = (
        "from triage_agent.domain.errors import BundleError\n"
        "from triage_agent.models.registry import encoder_from_source\n"
        "try: encoder_from_source('google/medgemma-4b-pt')\n"
        "except BundleError as error: print(error)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout.count("\n") == 1
    assert "google/medgemma-4b-pt cannot be downloaded" in done.stdout
    assert "HF_HUB_OFFLINE, or give a local folder" in done.stdout
