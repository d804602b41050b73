"""What a bundle's own figures say against it."""

from types import SimpleNamespace

import pytest

from triage_agent.models.bundle import load_bundle
from triage_agent.models.doubts import doubts


def figures(value, low, high, early=0.4):
    auroc = {"value": value, "low": low, "high": high}
    return {"held_back": {"sensitivity_at_alert": early}, "valid": {"knees": {"overall": {"auroc": auroc}}}}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (figures(0.92, 0.90, 0.94), []),
        (
            figures(0.533, 0.455, 0.609, early=0.0),
            [
                "no better than chance on knees: AUROC 0.533 (0.455 to 0.609)",
                "no abnormal study held back in training reaches the alert threshold: nothing is raised early",
            ],
        ),
        (figures(None, None, None), []),
        ({}, ["never measured on labelled studies"]),
    ],
)
def test_figures_that_speak_against_a_bundle_are_said(metrics, said):
    assert list(doubts(SimpleNamespace(metrics=metrics))) == said


def test_nothing_speaks_against_the_shipped_bundle():
    assert doubts(load_bundle("embedded").spec) == ()
