"""Continuous integration asks for everything: there a test that is left out has failed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.programs import REQUIRE, with_nothing_missing

TESTS = Path(__file__).parents[1]


def report(outcome, **more):
    return SimpleNamespace(outcome=outcome, skipped=outcome == "skipped", longrepr=("file", 1, "no GPU"), **more)


@pytest.mark.parametrize("asked", ["", "0", "1"])
@pytest.mark.parametrize("outcome", ["passed", "failed", "skipped"])
def test_a_test_that_is_left_out_fails_where_all_is_asked_for_and_nowhere_else(monkeypatch, asked, outcome):
    monkeypatch.setenv(REQUIRE, asked)
    found = with_nothing_missing(report(outcome))
    fails = outcome == "skipped" and asked == "1"
    assert found.outcome == ("failed" if fails else outcome)
    assert "no GPU" in found.longrepr


def test_a_test_that_is_expected_to_fail_and_does_is_not_left_out(monkeypatch):
    monkeypatch.setenv(REQUIRE, "1")
    assert with_nothing_missing(report("skipped", wasxfail="a known fault")).outcome == "skipped"


@pytest.mark.parametrize("asked", ["0", "1"])
@pytest.mark.parametrize(
    "what", ["@pytest.mark.skip\ndef test(): ...", "def test(): pytest.skip()", "pytest.importorskip('nowhere')"]
)
def test_the_hooks_of_all_tests_see_to_it(asked, what, tmp_path):
    file = tmp_path / "test_one.py"
    file.write_text(f"import pytest\n{what}\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "conftest",
        "-p",
        "no:schemathesis",
        "-p",
        "no:cacheprovider",
        str(file),
    ]
    environment = {**os.environ, REQUIRE: asked, "TRIAGE_PART": "all", "PYTHONPATH": str(TESTS)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode in {1, 2}) is (asked == "1"), ended.stdout
