"""Figures of how the agent does: quantiles, distributions of scores, and whether they drift. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from triage_agent.domain.feedback import Feedback, Verdict
from triage_agent.domain.vocabulary import Finding

BINS = 10  # of probabilities, equally wide
DRIFTED = 0.2  # a population-stability index above it is an alarm, by the usual rule of thumb (Siddiqi 2006)
LEAST = 200  # scores on either side: with fewer, chance alone may reach 0.2 (its mean is 9/n + 9/m for ten bins)
REFERENCE_DAYS = 28  # a bundle's first scores at the site, which stand for what it was made for
CURRENT_DAYS = 7
_SMOOTHING = 0.5  # of a count, so that an empty bin is no infinity (Jeffreys' prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What became of one study, and when."""

    received_at: datetime
    flagged_at: datetime | None
    delivered_at: datetime | None
    region: str | None
    finding: Finding | None


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a bundle by region, each as counts of `BINS` bins.

    Attributes:
        reference: of its first four weeks here; current: of the last week.
        bundle: whose last decision is the newest; None where nothing was decided.
        since: its first decision.
    """

    bundle: str | None
    since: datetime | None
    reference: Mapping[str, Sequence[int]]
    current: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLook:
    """A destination: when something was last sent to it, and since when nothing is taken."""

    destination: str
    last_sent_at: datetime | None
    failing_since: datetime | None
    dead: int


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds; None where it never happened."""

    number: int
    half: float | None  # p50
    most: float | None  # p95


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a region's scores are from the reference; `index` is None where there are too few to tell."""

    region: str
    reference: Sequence[int]
    current: Sequence[int]
    index: float | None

    @property
    def alarm(self) -> bool:
        """Whether somebody should look."""
        return self.index is not None and self.index > DRIFTED


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, of one region or one week."""

    name: str
    part: int
    whole: int

    @property
    def value(self) -> float:
        """0 to 1; 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0


class Figures(Protocol):
    """Reads what happened; each question costs a bounded time, however many studies there are.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def arrivals(self, since: datetime) -> Mapping[datetime, int]:
        """How many studies came, by the hour (UTC) in which they did; hours without any are left out."""

    def courses(self, since: datetime, limit: int) -> Sequence[Course]:
        """Of the studies that came since then, the newest first."""

    def scores(self, now: datetime) -> Scores:
        """Of the bundle that decided last."""

    def routes(self) -> Sequence[RouteLook]:
        """Every destination to which something was sent, or which fails."""


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of all lie, interpolated between neighbours; None of nothing."""
    ranked = sorted(values)
    if not ranked:
        return None
    place = share * (len(ranked) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


def spread(begun_and_ended: Iterable[tuple[datetime, datetime | None]]) -> Spread:
    """How long what has ended took."""
    took = [max(0.0, (end - begin).total_seconds()) for begin, end in begun_and_ended if end is not None]
    return Spread(len(took), quantile(took, 0.5), quantile(took, 0.95))


def bin_of(probability: float) -> int:
    """Which of the bins a probability lies in; 1 lies in the last."""
    return min(BINS - 1, max(0, int(probability * BINS)))


def stability(reference: Sequence[int], current: Sequence[int]) -> float:
    """The population-stability index of two distributions, as counts by bin; 0 where they are alike.

    The sum over bins of (a - e) ln(a / e) for the shares e of the reference and a of the current, each count half a
    case larger than it is.
    """
    expected, actual = _shares(reference), _shares(current)
    return sum((a - e) * math.log(a / e) for e, a in zip(expected, actual, strict=True))


def drifts(scores: Scores) -> list[Drift]:
    """By region, those of either side."""
    nothing = [0] * BINS
    regions = sorted({*scores.reference, *scores.current})
    return [_drift(one, scores.reference.get(one, nothing), scores.current.get(one, nothing)) for one in regions]


def positive(courses: Iterable[Course]) -> list[Share]:
    """How many of the studies with a finding are abnormal, by region."""
    assessed = [one for one in courses if one.finding not in {None, Finding.NOT_ASSESSED}]
    return _shares_by((one.region or "", one.finding is Finding.ABNORMAL) for one in assessed)


def agreement_by_region(words: Iterable[Feedback]) -> list[Share]:
    """How many readers agree, by the region that the agent named."""
    return _shares_by((word.said.region or "", word.verdict is Verdict.AGREE) for word in words)


def agreement_by_week(words: Iterable[Feedback]) -> list[Share]:
    """The same by the week (its Monday, UTC); weeks without a word are left out."""
    return _shares_by((_monday(word.at), word.verdict is Verdict.AGREE) for word in words)


def _monday(at: datetime) -> str:
    return (at - timedelta(days=at.weekday())).strftime("%Y-%m-%d")


def _shares_by(judged: Iterable[tuple[str, bool]]) -> list[Share]:
    totals: dict[str, list[int]] = {}
    for name, hit in judged:
        of = totals.setdefault(name, [0, 0])
        of[0] += hit
        of[1] += 1
    return [Share(name, part, whole) for name, (part, whole) in sorted(totals.items())]


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _SMOOTHING * len(counts)
    return [(count + _SMOOTHING) / total for count in counts]


def _drift(region: str, reference: Sequence[int], current: Sequence[int]) -> Drift:
    enough = sum(reference) >= LEAST and sum(current) >= LEAST
    return Drift(region, reference, current, stability(reference, current) if enough else None)
