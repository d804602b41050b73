"""Continuous integration asks for everything: there a test that is left out has failed."""

from types import SimpleNamespace

import pytest
from support.programs import REQUIRE, with_nothing_missing


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
