"""A package that only an extra brings: without it a command ends at once, in one line that says how to get it."""

import os
import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from triage_agent.cli import main; main()"
# Also for the processes that the command starts.
MISSING = 'raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)'


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("scipy", "train", ["demo", "--exit-when-done"]),
        ("scipy", "train", ["phantom", "out"]),
        ("matplotlib", "train", ["evaluate", ".", "--out", "report"]),
        ("torch", "train", ["evaluate", "."]),
        ("torch", "gpu", ["demo", "--exit-when-done"]),
    ],
)
def test_what_is_not_installed_is_told_in_one_line(tmp_path, package, extra, command):
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / f"{package}.py").write_text(MISSING)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, package, *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "without")},
    )
    remedy = f"`pip install --constraint constraints.txt '.[{extra}]'` in the agent's clone"
    assert (done.returncode, done.stderr) == (2, f"triage-agent: {package} is not installed; {remedy}\n")
