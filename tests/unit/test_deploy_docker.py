"""The Dockerfile holds together: what it copies is there, what it runs is ours, and no image runs as root."""

import fnmatch
import json
import re
import tomllib

import pytest
from support.deployed import DEPLOY, ROOT, known_variable, stages

from triage_agent.cli.serving import Role

FILE = DEPLOY / "docker" / "Dockerfile"
STAGES = stages(FILE)
IMAGES = ["listener", "worker", "worker-gpu"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lineage(name):
    """Every instruction of an image: those of what it is made from first."""
    if name not in STAGES:
        return []
    base, instructions = STAGES[name]
    return lineage(base) + instructions


def last(name, word):
    return [rest for instruction, rest in lineage(name) if instruction == word][-1]


def copied_from_the_clone():
    return [
        path
        for _, instructions in STAGES.values()
        for word, rest in instructions
        if word == "COPY" and "--from=" not in rest
        for path in [part for part in rest.split() if not part.startswith("--")][:-1]
    ]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_user_by_number_who_is_not_root(image):
    user, _, group = last(image, "USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_is_how_it_stops_and_how_its_health_is_asked(image):
    labels = dict(re.findall(r'(org\.opencontainers\.image\.\w+)="([^"]*)"', last(image, "LABEL")))
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert labels["org.opencontainers.image.title"] == PROJECT["name"]
    assert last(image, "STOPSIGNAL") == "SIGTERM"
    assert "/opt/probe.py" in last(image, "HEALTHCHECK")
    assert last(image, "VOLUME") == "/var/lib/triage-agent"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_the_command_that_is_installed_in_a_role_that_there_is(image):
    (program,) = json.loads(last(image, "ENTRYPOINT"))
    assert program.startswith("/opt/triage-agent/bin/")
    assert program.rpartition("/")[2] in PROJECT["scripts"]
    serve, option, role = json.loads(last(image, "CMD"))
    assert (serve, option) == ("serve", "--role")
    assert Role(role)


def installs(name):
    return [rest for word, rest in lineage(name) if word == "RUN" and "pip --python" in rest]


def test_the_listener_has_no_extra_with_torch_and_the_workers_have():
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", FILE.read_text(), re.MULTILINE)
    assert "postgres" in extras.split(",")
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys() - {"gpu", "train", "all", "dev"}
    assert "$1[${EXTRAS}]" in installs("listener-installed")[-1]
    assert not any("gpu" in command for command in installs("listener-installed"))
    for name in ("worker-installed", "worker-gpu-installed"):
        assert "$1[gpu,${EXTRAS}]" in installs(name)[-1]
    for image in IMAGES:
        assert f"--from={image}-installed " in last(image, "COPY")


def test_what_is_installed_is_what_the_tests_run_with_and_nothing_is_compiled():
    for name in STAGES:
        for command in installs(name):
            assert "--constraint /constraints.txt" in command
            assert "--only-binary :all:" in command


def test_our_own_package_is_installed_from_its_file_since_the_index_has_another_of_its_name():
    for name in STAGES:
        for command in installs(name):
            assert "set -- /wheels/*.whl" in command
            assert PROJECT["name"] not in command.partition(" install ")[2].partition("&&")[0]


def test_what_is_copied_is_in_the_clone_and_not_left_out():
    ignore = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    assert copied_from_the_clone() != []
    for path in copied_from_the_clone():
        assert (ROOT / path).exists(), path
        assert path.removeprefix("./") in kept, path
    for path in kept:
        assert any(fnmatch.fnmatch(path, copied.removeprefix("./")) for copied in copied_from_the_clone()), path


def test_what_hatchling_needs_to_build_the_wheel_is_there():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = STAGES["wheel"][1]
    copied = {path for word, rest in wheel if word == "COPY" for path in rest.split()[:-1]}
    hook = build["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["path"]
    assert {hook, PROJECT["readme"], *PROJECT["license-files"], "triage_agent", "config", "migrations"} <= copied


def test_its_variables_are_keys_of_the_configuration():
    for image in IMAGES:
        variables = re.findall(r"(TRIAGE_AGENT\w*)=", " ".join(rest for word, rest in lineage(image) if word == "ENV"))
        assert variables
        assert [name for name in variables if not known_variable(name)] == []


def test_the_python_of_the_images_is_one_that_the_package_takes():
    (version,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)-slim", FILE.read_text(), re.MULTILINE)
    assert f"Python {version}" in (ROOT / "README.md").read_text()
    low, high = re.findall(r"(\d+\.\d+)", PROJECT["requires-python"])
    assert tuple(map(int, low.split("."))) <= tuple(map(int, version.split("."))) < tuple(map(int, high.split(".")))
