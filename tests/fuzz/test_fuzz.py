"""A bounded run of every fuzz target; `make fuzz` has the long one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
TARGETS = ("pdu", "intake", "decode", "hl7", "stow", "answers", "orders", "workitems")


def fuzz(target, out, *options):
    done = subprocess.run(
        [sys.executable, RUN, target, "--out", out, *options], capture_output=True, text=True, timeout=240, check=False
    )
    found = [str(path) for path in out.iterdir()]
    assert done.returncode == 0, f"{found}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.mark.parametrize("target", TARGETS)
def test_seeded_mutations_find_nothing(target, tmp_path):
    assert "nothing found" in fuzz(target, tmp_path, "--plain", "--runs", "600", "--seconds", "20").stdout


@pytest.mark.parametrize("target", TARGETS)
def test_a_short_run_guided_by_coverage_finds_nothing(target, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is absent (extra fuzz)")
    assert "DONE" in fuzz(target, tmp_path, "--seconds", "2").stderr


def test_what_fails_is_found_and_kept(tmp_path, monkeypatch):
    """The runner itself: a target that cannot bear a byte."""
    program = (
        f"import sys; sys.path.insert(0, {str(RUN.parents[1])!r}); sys.argv = ['run', 'hl7', '--plain', '--runs', '50',"
        f" '--out', {str(tmp_path)!r}]\n"
        "from fuzz import run, targets\n"
        "def refuse(self, data):\n    assert b'AE' not in data\n"
        "targets.Acknowledgement.__call__ = refuse\nrun.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert b"AE" in (tmp_path / "crash-hl7").read_bytes()
