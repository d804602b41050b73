"""What the Dockerfile builds, rehearsed without Docker: its steps in a bare environment, its processes contained.

The steps install hundreds of megabytes: `make images` runs them. What `make test` shows of it is that the pages need no
torch, and write to no place but their volume.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.agent import eventually
from support.deployed import DEPLOY, ROOT, stages
from support.units import WITHOUT_TORCH, Confined
from support.xrays import radiograph, send

pytestmark = pytest.mark.external

CONTAINER = ROOT / "tests" / "support" / "container.conf"
STAGES = stages(DEPLOY / "docker" / "Dockerfile")
installed = pytest.mark.asked("TRIAGE_IMAGES")  # by `make images`


@pytest.fixture
def contained(tmp_path):
    """Makes a place as a container is one."""
    made = []

    def make(name="container", **how):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Confined(folder, CONTAINER, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_pages_are_served_without_torch_and_nothing_is_written_but_the_volume(contained, pacs):
    container = contained()
    container.serve("web", pacs.port, program=("-c", WITHOUT_TORCH))
    assert container.get("login")[0] == 200
    assert container.stop() == 0, container.log.read_text()


# --- what is installed ------------------------------------------------------------------------------------------------
def run_stage(name, folder):
    """The RUN steps of a stage, with this machine's Python and folders of the test's; pip finds torch by itself."""
    places = {
        "/opt/triage-agent": str(folder / "triage-agent"),
        "/constraints.txt": str(ROOT / "constraints.txt"),
        "/wheels": str(folder / "wheels"),
        "python -m": f"{sys.executable} -m",
        '--extra-index-url "${TORCH_INDEX}"': "",
    }
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", (DEPLOY / "docker" / "Dockerfile").read_text(), re.MULTILINE))
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | arguments
    for word, rest in STAGES[name][1]:
        if word == "RUN":
            step = rest
            for there, here in places.items():
                step = step.replace(there, here)
            subprocess.run(["/bin/sh", "-eu", "-c", step], check=True, cwd=ROOT, timeout=900, env=bare)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environments of the stages, one on top of the other as in the Dockerfile: name -> folder."""
    folder = tmp_path_factory.mktemp("images")
    made = []

    def build(*names):
        for name in names:
            if name not in made:
                run_stage(name, folder)
                made.append(name)
        return folder / "triage-agent"

    return build


def measured(folder):
    """Megabytes and distributions of an environment's packages."""
    (packages,) = folder.glob("lib/python*/site-packages")
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    names = {re.split(r"-\d", path.name)[0].lower() for path in packages.glob("*.dist-info")}
    return round(size / 1e6), names


def note(name, megabytes, packages):
    """Into build/images.json, beside the others."""
    file = ROOT / "build" / "images.json"
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | {name: {"megabytes": megabytes, "packages": packages}}, indent=2))


@installed
def test_the_listeners_environment_has_no_torch_no_pip_and_no_gpl_font_and_runs(environment, contained, pacs):
    folder = environment("wheel", "listener-installed")
    megabytes, names = measured(folder)
    note("listener", megabytes, len(names))
    assert not {"torch", "transformers", "pip", "setuptools", "wheel"} & names
    assert list(folder.rglob("DarkGarden*")) == []
    for role in ("listener", "web"):
        container = contained(role, python=str(folder / "bin" / "python"), code=None)
        container.serve(role, pacs.port, program=(str(folder / "bin" / "triage-agent"),))
        if role == "listener":
            assert set(send(container.port, radiograph(seed=1)).values()) == {0x0000}
        assert container.stop() == 0, container.log.read_text()


@installed
def test_the_workers_environment_scores(environment, contained, pacs):
    folder = environment("wheel", "listener-installed", "worker-installed")
    megabytes, names = measured(folder)
    note("worker", megabytes, len(names))
    assert {"torch", "transformers", "safetensors"} <= names
    container = contained(python=str(folder / "bin" / "python"), code=None)
    container.serve("all", pacs.port, program=(str(folder / "bin" / "triage-agent"),))
    image = radiograph(seed=2)
    assert set(send(container.port, image).values()) == {0x0000}
    assert eventually(lambda: [one for one in pacs.objects if one.get("Modality") == "SR"])
    assert container.stop() == 0, container.log.read_text()


@installed
def test_an_environment_needs_no_library_of_the_system_that_a_slim_image_has_not(environment):
    """Beside the C libraries zlib alone, which Debian's dpkg needs; wheels bring the rest in folders of theirs."""
    folder = environment("wheel", "listener-installed")
    theirs = os.pathsep.join(str(one) for one in folder.rglob("*.libs"))
    system = {}
    for library in [one for one in folder.rglob("*.so*") if one.is_file()]:
        said = subprocess.run(
            ["ldd", library],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "LD_LIBRARY_PATH": theirs},
        ).stdout
        assert "not found" not in said, f"{library}: {said}"
        for path in re.findall(r"=> (/(?:usr/)?lib\S+)", said):
            system.setdefault(Path(path).name, library.name)
    assert "libc.so.6" in system
    usual = r"(lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+|z|resolv)\.so|ld-linux)"
    assert {name: library for name, library in system.items() if not re.match(usual, name)} == {}
