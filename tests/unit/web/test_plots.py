"""Plots are well-formed SVG, say what they show, and break no content policy."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_agent.web.site.plots import HEIGHT, WIDTH, Bar, bars, nice

VALUES = st.lists(st.builds(Bar, st.text(max_size=12), st.floats(0, 1e9), st.text(max_size=20)), max_size=40)


def parsed(svg):
    return ET.fromstring(str(svg))  # noqa: S314 - our own


def printable(values):
    return all(sign.isprintable() for one in values for sign in one.label + one.said)


@given(VALUES.filter(printable))
def test_every_bar_lies_within_the_plot(values):
    root = parsed(bars("p", "A <title>", "About & more", values))
    for bar in root.iter("rect"):
        assert 0 <= float(bar.get("x")) <= WIDTH
        assert 0 <= float(bar.get("y")) <= float(bar.get("y")) + float(bar.get("height")) <= HEIGHT + 1e-6
    assert len(list(root.iter("rect"))) == len(values)


def test_it_is_named_for_screen_readers():
    root = parsed(bars("p", "A <title>", "About & more", [Bar("a", 1, "1 of 2", mark=2)]))
    assert (root.get("role"), root.get("aria-labelledby")) == ("img", "p-title p-desc")
    assert (root.find("title").text, root.find("desc").text) == ("A <title>", "About & more")
    assert root.find("rect/title").text == "a: 1 of 2"


def test_nothing_is_styled_inline():
    assert "style=" not in bars("p", "t", "d", [Bar("a", 1, "b", mark=1)])


@given(st.floats(1e-6, 1e12))
def test_an_axis_ends_at_a_round_number_that_is_not_far_above(highest):
    assert highest <= nice(highest) * (1 + 1e-9) <= highest * 10.001


@pytest.mark.parametrize(("highest", "top"), [(0, 1), (1, 1), (7, 10), (12, 20), (43, 50), (0.3, 0.5), (100, 100)])
def test_round_numbers(highest, top):
    assert nice(highest) == pytest.approx(top)


def test_labels_do_not_lie_over_one_another():
    root = parsed(bars("p", "t", "d", [Bar(f"{hour:02}.03. 00h", 1, "") for hour in range(168)]))
    below = [one for one in root.iter("text") if one.get("text-anchor") == "middle"]
    assert 2 <= len(below) <= 8


@pytest.mark.parametrize("highest", [5e-324, 9.999999999999999e-300, 1e-7, 0.1 + 0.2, 1.0, 5.000001, 1e23, 1e300])
def test_an_axis_ends_at_or_above_its_highest_value_however_small_or_large(highest):
    assert highest <= nice(highest) <= max(10.1 * highest, 1e-300)
