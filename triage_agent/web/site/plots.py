"""Plots as SVG, drawn on the server, in the colours of the page's scheme, with words for screen readers.

Nothing is styled inline (the pages' content policy forbids it): classes stand in `site.css`, also for print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup

WIDTH, HEIGHT = 400, 182  # about as many pixels as it has on most screens, so that its words are as large as others
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 14, 36
_LINE = 13  # of words below the axis; there are two
_GAP = 0.2  # of a bar's place
_MOST_LABELS = 8
_LETTER = 7  # pixels of one, about


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: `label` below it, and what it says; `mark` is a line beside which it is read, such as a reference."""

    label: str
    value: float
    said: str
    mark: float | None = None


def bars(name: str, title: str, about: str, values: Sequence[Bar], top: float | None = None, unit: str = "") -> Markup:
    """A bar chart.

    Args:
        name: of the plot on its page; ids are made of it.
        title: what it shows, in a few words.
        about: what a screen reader says besides.
        values: from left to right.
        top: the upper end of the axis; what fits where it is not given.
        unit: behind the axis's numbers.
    """
    highest = top or nice(max((max(one.value, one.mark or 0) for one in values), default=0))
    inner, place = WIDTH - _LEFT - _RIGHT, (WIDTH - _LEFT - _RIGHT) / max(1, len(values))
    drawn = [_axis(highest, unit)]
    every = _every(values, inner)
    in_two = every == 2 and len(values) <= _MOST_LABELS  # noqa: PLR2004 - lines: then each bar has its name
    for number, one in enumerate(values):
        left = _LEFT + number * place
        drawn.append(_bar(left, place, one, highest))
        if in_two or number % every == 0:
            line = _LINE if in_two and number % every else 0
            drawn.append(_text(left + place / 2, HEIGHT - 8 - _LINE + line, one.label, "middle"))
    return _figure(name, title, about, Markup().join(drawn))


def nice(highest: float) -> float:
    """A round number at or above: the upper end of an axis."""
    if highest <= 0:
        return 1.0
    exponent = floor(log10(highest))
    # By its digits: powers of ten that are multiplied together drift away from what they stand for.
    rounds = (float(f"{factor}e{exponent + more}") for more in (0, 1) for factor in (1, 2, 5))
    return next(one for one in rounds if one >= highest)


def _every(values: Sequence[Bar], inner: float) -> int:
    """Every which bar has its label, so that none lies over another."""
    longest = max((len(one.label) for one in values), default=1)
    fitting = max(1, min(_MOST_LABELS * 2, int(inner / (longest * _LETTER + 6))))
    return max(1, -(-len(values) // fitting))


def _bar(left: float, place: float, one: Bar, highest: float) -> Markup:
    wide, gap = place * (1 - _GAP), place * _GAP / 2
    high = _high(one.value, highest)
    drawn = Markup('<rect class="bar-value" x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>').format(
        _n(left + gap), _n(HEIGHT - _BOTTOM - high), _n(wide), _n(high), one.label, one.said
    )
    if one.mark is not None:
        level = _n(HEIGHT - _BOTTOM - _high(one.mark, highest))
        drawn += Markup('<path class="bar-mark" d="M{} {}H{}"/>').format(_n(left), level, _n(left + place))
    return drawn


def _axis(highest: float, unit: str) -> Markup:
    drawn = []
    for share in (0.0, 0.5, 1.0):
        level = HEIGHT - _BOTTOM - _high(share * highest, highest)
        drawn.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(_LEFT, _n(level), WIDTH - _RIGHT))
        drawn.append(_text(_LEFT - 6, level + 4, f"{share * highest:g}{unit}", "end"))
    return Markup().join(drawn)


def _text(x: float, y: float, said: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(_n(x), _n(y), anchor, said)


def _figure(name: str, title: str, about: str, drawn: Markup) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-desc">'
        '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}</svg>'
    ).format(WIDTH, HEIGHT, name, name, name, title, name, about, drawn)


def _high(value: float, highest: float) -> float:
    return max(0.0, min(1.0, value / highest)) * (HEIGHT - _TOP - _BOTTOM)


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
