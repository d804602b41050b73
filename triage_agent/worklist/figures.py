"""What the dashboard asks, each question of one range of an index: none costs more as the worklist grows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, func, select
from sqlalchemy.orm import Session

from triage_agent.domain.figures import BINS, CURRENT_DAYS, REFERENCE_DAYS, Course, RouteLook, Scores, bin_of
from triage_agent.domain.ports import Worklist
from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.feedback_rows import FeedbackRow  # noqa: F401 - with it comes the index by bundle
from triage_agent.worklist.notice_rows import RouteRow
from triage_agent.worklist.repository import SqlWorklist
from triage_agent.worklist.rows import word_is
from triage_agent.worklist.tables import DecisionRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import Database

_MOST_SCORES = 10_000  # of a bundle, on either side
_MOST_ROUTES = 100
_HOUR = "%Y-%m-%d %H"


class SqlFigures:
    """The `Figures` port on SQLite or Postgres; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def arrivals(self, since: datetime) -> Mapping[datetime, int]:
        """See `Figures.arrivals`."""
        return self._database.read(lambda session: _arrivals(session, since))

    def courses(self, since: datetime, limit: int) -> Sequence[Course]:
        """See `Figures.courses`."""
        return self._database.read(lambda session: _courses(session, since, limit))

    def scores(self, now: datetime) -> Scores:
        """See `Figures.scores`."""
        return self._database.read(lambda session: _scores(session, now))

    def routes(self) -> Sequence[RouteLook]:
        """See `Figures.routes`."""
        return self._database.read(_routes)


def figures_of(worklist: Worklist) -> SqlFigures | None:
    """The figures of a worklist's database; None where it has none (a worklist in memory)."""
    return SqlFigures(worklist.database) if isinstance(worklist, SqlWorklist) else None


def _arrivals(session: Session, since: datetime) -> dict[datetime, int]:
    if session.get_bind().dialect.name == "postgresql":
        hour = func.to_char(func.timezone("UTC", StudyRow.received_at), "YYYY-MM-DD HH24", type_=String)
    else:  # where it is text, and in UTC
        hour = func.substr(StudyRow.received_at, 1, len("2026-03-01 09"), type_=String)
    shown = hour.label("hour")
    found = session.execute(select(shown, func.count()).where(StudyRow.received_at >= since).group_by(shown))
    return {datetime.strptime(at, _HOUR).replace(tzinfo=UTC): number for at, number in found}


def _courses(session: Session, since: datetime, limit: int) -> list[Course]:
    columns = (StudyRow.received_at, StudyRow.flagged_at, StudyRow.delivered_at, StudyRow.anatomy, StudyRow.finding)
    newest = select(*columns).where(StudyRow.received_at >= since).order_by(StudyRow.received_at.desc()).limit(limit)
    return [
        Course(received_at=received, flagged_at=flagged, delivered_at=delivered, region=region, finding=finding)
        for received, flagged, delivered, region, finding in session.execute(newest)
    ]


def _scores(session: Session, now: datetime) -> Scores:
    last = select(DecisionRow.study_instance_uid).order_by(DecisionRow.decided_at.desc()).limit(1)
    bundle = session.scalar(select(StudyRow.bundle).where(StudyRow.study_instance_uid == last.scalar_subquery()))
    if bundle is None:
        return Scores(None, None, {}, {})
    since = session.scalar(select(func.min(StudyRow.decided_at)).where(StudyRow.bundle == bundle))
    if since is None:
        return Scores(bundle, None, {}, {})
    lately = now - timedelta(days=CURRENT_DAYS)
    until = min(since + timedelta(days=REFERENCE_DAYS), lately)  # nothing is compared with itself
    rising, falling = StudyRow.decided_at.asc(), StudyRow.decided_at.desc()
    reference = _binned(session, bundle, (StudyRow.decided_at < until,), rising)
    return Scores(bundle, since, reference, _binned(session, bundle, (StudyRow.decided_at >= lately,), falling))


def _binned(
    session: Session, bundle: str, when: Iterable[ColumnElement[bool]], order: ColumnElement[Any]
) -> dict[str, list[int]]:
    statement = (
        select(StudyRow.anatomy, StudyRow.probability)
        .where(StudyRow.bundle == bundle, StudyRow.decided_at.is_not(None), *when)
        .order_by(order)
        .limit(_MOST_SCORES)
    )
    found: dict[str, list[int]] = {}
    for region, probability in session.execute(statement):
        if probability is not None:
            found.setdefault(region or "", [0] * BINS)[bin_of(probability)] += 1
    return found


def _routes(session: Session) -> list[RouteLook]:
    """One step through the index a destination."""
    failing = {row.destination: row.failing_since for row in session.scalars(select(RouteRow).limit(_MOST_ROUTES))}
    sent: dict[str, datetime | None] = {}
    after = ""
    while len(sent) < _MOST_ROUTES:
        behind = select(func.min(OutboxRow.destination)).where(
            OutboxRow.destination > after, OutboxRow.sent_at.is_not(None)
        )
        found: str | None = session.scalar(behind)
        if found is None:
            break
        newest = select(func.max(OutboxRow.sent_at)).where(
            OutboxRow.destination == found, OutboxRow.sent_at.is_not(None)
        )
        sent[found], after = session.scalar(newest), found
    names = sorted({*sent, *(name for name, since in failing.items() if since is not None)})
    return [
        RouteLook(
            destination=name, last_sent_at=sent.get(name), failing_since=failing.get(name), dead=_dead(session, name)
        )
        for name in names
    ]


def _dead(session: Session, destination: str) -> int:
    dead = word_is(OutboxRow.state, DeliveryState.DEAD)
    return session.scalar(select(func.count()).where(dead, OutboxRow.destination == destination)) or 0
