"""The dashboard: how much comes, how fast it is told, whether scores drift and readers agree, what is in trouble."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import HTTPException, Request, Response
from markupsafe import Markup

from triage_agent.domain.backlog import Backlog
from triage_agent.domain.feedback import Feedback, FeedbackBook, standing
from triage_agent.domain.figures import (
    BINS,
    LEAST,
    Course,
    Drift,
    Figures,
    RouteLook,
    Scores,
    Share,
    agreement_by_region,
    agreement_by_week,
    drifts,
    positive,
    spread,
)
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.ops.gauges import Disk
from triage_agent.web.site import words
from triage_agent.web.site.condition import TOO_LONG
from triage_agent.web.site.gate import Gate, available, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.plots import Bar, bars

SPANS = {"1": "a day", "7": "a week", "30": "30 days"}
_USUAL = "7"
_MOST_STUDIES = 5_000  # of a time, looked at one by one
_MOST_WORDS = 5_000
_AGREEMENT = timedelta(weeks=12)
_KEPT = timedelta(seconds=30)  # whoever reloads, and several who look, cost the database one look
_HOURLY = 7  # days of which every hour is shown


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers of a plot."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its numbers; `note` is said below it, `alarm` stands before it."""

    title: str
    svg: Markup
    table: Table
    note: str = ""
    alarm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the dashboard shows of one time."""

    at: datetime
    plots: Sequence[Plot]
    drifts: Sequence[Plot]
    times: Table
    backlog: Backlog
    routes: Sequence[RouteLook]
    scores: Scores
    some: bool  # not all studies of the time were looked at


class Dashboard:
    """The route."""

    def __init__(
        self,
        gate: Gate,
        worklist: Worklist,
        figures: Figures,
        feedback: FeedbackBook,
        disk: Callable[[], Disk],
        pages: Pages,
        clock: Clock,
        destinations: Sequence[str] = (),
    ) -> None:
        """`destinations` are those that the site has configured, whether or not anything has gone there yet."""
        self.router = gate.router()
        self._destinations = destinations
        self._worklist = worklist
        self._figures = figures
        self._feedback = feedback
        self._disk = disk
        self._pages = pages
        self._clock = clock
        self._kept: dict[str, Look] = {}
        self._turn = threading.Lock()
        self.router.get("/dashboard")(self.shown)

    def shown(self, request: Request, days: str = _USUAL) -> Response:
        """The page; no patient is on it."""
        if days not in SPANS:
            raise HTTPException(400, "The address has a value that cannot be understood.")
        with available(), self._turn:
            look = self._look(days)
        waits = look.backlog.since is not None and look.at - look.backlog.since > TOO_LONG
        return self._pages.show(
            "dashboard.html",
            visitor_of(request),
            look=look,
            too_long=waits,
            disk=self._disk_now(),
            days=days,
            spans=SPANS,
        )

    def _disk_now(self) -> Disk | None:
        try:
            return self._disk()
        except OSError:
            return None

    def _look(self, days: str) -> Look:
        now = self._clock()
        kept = self._kept.get(days)
        if kept is None or not timedelta(0) <= now - kept.at < _KEPT:
            kept = self._kept[days] = self._made(now, int(days))
        return kept

    def _made(self, now: datetime, days: int) -> Look:
        since = now - timedelta(days=days)
        courses = self._figures.courses(since, _MOST_STUDIES)
        scores = self._figures.scores(now)
        said = standing(self._feedback.given(now - _AGREEMENT, None, _MOST_WORDS))
        return Look(
            at=now,
            plots=[_arrivals(self._figures, since, now, days), _positive(courses), *_agreement(said)],
            drifts=[_drift(number, one) for number, one in enumerate(drifts(scores))],
            times=_times(courses),
            backlog=self._worklist.backlog(now),
            routes=_with_unused(self._figures.routes(), self._destinations),
            scores=scores,
            some=len(courses) == _MOST_STUDIES,
        )


def _with_unused(routes: Sequence[RouteLook], destinations: Sequence[str]) -> Sequence[RouteLook]:
    """Also those that nothing has gone to: a site looks for them here first."""
    known = {one.destination for one in routes}
    unused = [
        RouteLook(destination=one, last_sent_at=None, failing_since=None, dead=0)
        for one in sorted(set(destinations))
        if one not in known
    ]
    return [*routes, *unused]


def _arrivals(figures: Figures, since: datetime, now: datetime, days: int) -> Plot:
    """By the hour, over longer times by the day (UTC)."""
    by_hour = days <= _HOURLY
    step = timedelta(hours=1) if by_hour else timedelta(days=1)
    form, label = ("%Y-%m-%d %H:00", "%d %b %Hh") if by_hour else ("%Y-%m-%d", "%d %b")
    counts: dict[str, int] = {}
    for hour, number in figures.arrivals(since).items():
        counts[hour.strftime(form)] = counts.get(hour.strftime(form), 0) + number
    places, at = [], since.replace(minute=0, second=0, microsecond=0)
    at = at if by_hour else at.replace(hour=0)
    while at <= now:
        places.append((at.strftime(form), at.strftime(label)))
        at += step
    drawn = [Bar(said, counts.get(key, 0), f"{counts.get(key, 0)} studies") for key, said in places]
    total = sum(counts.values())
    title = f"Studies received by the {'hour' if by_hour else 'day'}"
    rows = [(key, str(counts[key])) for key, _ in places if key in counts]
    table = Table(("Hour (UTC)" if by_hour else "Day (UTC)", "Studies"), rows)
    return Plot(title, bars("arrivals", title, f"Studies in all: {total}", drawn), table, f"Studies in all: {total}.")


def _positive(courses: Sequence[Course]) -> Plot:
    return _share_plot("positive", "Studies found abnormal, by region", "Abnormal", positive(courses), by_region=True)


def _agreement(said: Sequence[Feedback]) -> list[Plot]:
    weeks, regions = agreement_by_week(said), agreement_by_region(said)
    return [
        _share_plot("weeks", "Readers who agree, by week", "Agree", weeks, by_region=False),
        _share_plot("regions", "Readers who agree, by region, last 12 weeks", "Agree", regions, by_region=True),
    ]


def _share_plot(name: str, title: str, part: str, shares: Sequence[Share], *, by_region: bool) -> Plot:
    named = [(words.region(one.name) or "Unknown" if by_region else one.name, one) for one in shares]
    label = (lambda said: said) if by_region else _day
    drawn = [Bar(label(said), one.value * 100, f"{one.part} of {one.whole}") for said, one in named]
    rows = [(said, str(one.part), str(one.whole), f"{one.value * 100:.1f} %") for said, one in named]
    whole = sum(one.whole for one in shares)
    about = f"{sum(one.part for one in shares)} of {whole}"
    heads = ("Region" if by_region else "Week from", part, "Of", "Share")
    return Plot(title, bars(name, title, about, drawn, top=100, unit=" %"), Table(heads, rows), f"{about} in all.")


def _day(said: str) -> str:
    return datetime.fromisoformat(said).strftime("%d %b")


def _times(courses: Sequence[Course]) -> Table:
    """From the first image of a study until its flag, and until its results were taken."""
    measured = (
        ("First image to flag", spread((one.received_at, one.flagged_at) for one in courses)),
        ("First image to report", spread((one.received_at, one.delivered_at) for one in courses)),
    )
    rows = [(name, words.seconds(one.half), words.seconds(one.most), str(one.number)) for name, one in measured]
    return Table(("Time", "p50", "p95", "Studies"), rows)


def _drift(number: int, one: Drift) -> Plot:
    region = words.region(one.region) or "Unknown"
    before, now = sum(one.reference), sum(one.current)
    shares = [(_share(one.reference, place), _share(one.current, place)) for place in range(BINS)]
    named = [f"{place / BINS:.1f}" for place in range(BINS)]
    drawn = [Bar(name, share, f"{share:.0f} %", mark) for name, (mark, share) in zip(named, shares, strict=True)]
    said = f"too few to tell, {LEAST} are needed of each" if one.index is None else f"stability index {one.index:.2f}"
    about = f"{now} studies of the last week against {before} of the reference: {said}"
    rows = [
        (f"{name} to {(place + 1) / BINS:.1f}", f"{mark:.1f} %", f"{share:.1f} %")
        for place, (name, (mark, share)) in enumerate(zip(named, shares, strict=True))
    ]
    svg = bars(f"drift-{number}", f"Scores of {region}", about, drawn, unit=" %")
    alarm = f"Drift: {said}" if one.alarm else ""
    return Plot(region, svg, Table(("Probability", "Reference", "Last week"), rows), f"{about}.", alarm)


def _share(counts: Sequence[int], place: int) -> float:
    total = sum(counts)
    return 100 * counts[place] / total if total else 0.0
