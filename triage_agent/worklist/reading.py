"""The readers' list in the database: each page is at most a few ranges of one index, also at a million studies."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, union, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.reading import NAME_KEYS, Listed, ListPage, ListQuestion, Order, search_key
from triage_agent.domain.vocabulary import AuditAction, Status
from triage_agent.domain.workitem import StepState
from triage_agent.worklist.listed_orders import ordered
from triage_agent.worklist.rows import append_audit, item_of, locked_study, status_is
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.transactions import Database
from triage_agent.worklist.workitem_rows import WorkitemRow

_FEW = 10_000  # studies that are sorted sooner than found in the index of all
_MOST_NAMED = 1_000  # studies that a search's text names; who types one letter wants none of them
_LAST_SIGN = "\U0010ffff"
NAME_COLUMNS: tuple[InstrumentedAttribute[str | None], ...] = tuple(getattr(StudyRow, key) for key in NAME_KEYS)

_Filter = ColumnElement[bool]


class SqlReadingList:
    """The `ReadingList` port on SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, question: ListQuestion) -> ListPage:
        """See `ReadingList.page`."""
        return self._database.read(lambda session: _page(session, question))

    def one(self, study_instance_uid: str) -> Listed | None:
        """See `ReadingList.one`."""
        return self._database.read(lambda session: _one(session, study_instance_uid))

    def number(self, status: Status, most: int) -> int:
        """See `ReadingList.number`."""
        some = select(StudyRow.study_instance_uid).where(status_is(status), StudyRow.read_at.is_(None)).limit(most)
        counted = select(func.count()).select_from(some.subquery())
        return self._database.read(lambda session: session.scalar(counted) or 0)

    def of_patient(self, patient_id: str | None, but: str, limit: int) -> Sequence[Listed]:
        """See `ReadingList.of_patient`."""
        if not patient_id:
            return ()
        theirs = (
            select(StudyRow)
            .where(StudyRow.patient_id == patient_id, StudyRow.study_instance_uid != but)
            .order_by(StudyRow.received_at.desc())
            .limit(limit)
        )
        return self._database.read(lambda session: _with_others(session, session.scalars(theirs).all()))

    def regions(self) -> Sequence[str]:
        """See `ReadingList.regions`."""
        return self._database.read(_regions)

    def claim(self, study_instance_uid: str, reader: str, now: datetime, stale_before: datetime) -> str | None:
        """See `ReadingList.claim`."""
        return self._database.write(lambda session: _claim(session, study_instance_uid, reader, now, stale_before))

    def release(self, study_instance_uid: str, reader: str, now: datetime) -> bool:
        """See `ReadingList.release`."""
        return self._database.write(lambda session: _release(session, study_instance_uid, reader, now))

    def mark_read(self, study_instance_uid: str, reader: str, now: datetime, *, seen: int) -> bool:
        """See `ReadingList.mark_read`."""
        return self._database.write(lambda session: _mark_read(session, study_instance_uid, reader, now, seen))

    def mark_unread(self, study_instance_uid: str, reader: str, now: datetime) -> bool:
        """See `ReadingList.mark_unread`."""
        return self._database.write(lambda session: _mark_unread(session, study_instance_uid, reader, now))


def _page(session: Session, question: ListQuestion) -> ListPage:
    if (page := _newest(session, question)) is not None:
        return page
    filters = list(_filters(session, question))
    order = _order(question.order, indexed=not _is_few(session, question.since))
    rows: list[StudyRow] = []
    for bounds in _ranges(question):
        statement = select(StudyRow).where(*filters, *bounds).order_by(*order).limit(question.limit + 1 - len(rows))
        rows.extend(session.scalars(statement))
        if len(rows) > question.limit:
            break
    return ListPage(_with_others(session, rows[: question.limit]), len(rows) > question.limit)


def _newest(session: Session, question: ListQuestion) -> ListPage | None:
    """A page of the newest that some filter leaves, if the last so many studies hold it: else the filter's index does.

    Left alone, a planner sorts every study of a region to show the newest fifty.
    """
    filtered = question.status is not None or question.priority is not None or bool(question.region)
    if question.order is not Order.NEWEST_FIRST or not filtered or question.text:
        return None
    recent = select(StudyRow.received_at).order_by(StudyRow.received_at.desc())
    if question.after is not None:
        recent = recent.where(StudyRow.received_at <= question.after.received_at)
    if (since := session.scalar(recent.offset(_FEW).limit(1))) is None:
        return None
    filters = [StudyRow.received_at >= since, *_filters(session, question, indexed=False)]
    rows: list[StudyRow] = []
    for bounds in _ranges(question):
        statement = select(StudyRow).where(*filters, *bounds).order_by(*_order(question.order, indexed=True))
        rows.extend(session.scalars(statement.limit(question.limit + 1 - len(rows))))
        if len(rows) > question.limit:
            return ListPage(_with_others(session, rows[: question.limit]), more=True)
    return None


def _filters(session: Session, question: ListQuestion, *, indexed: bool = True) -> Iterator[_Filter]:
    """What a question asks for; without `indexed` the filters' own indexes are kept from the planner."""
    if not indexed:
        yield from _hidden(question)
        question = replace(question, status=None, priority=None, region="")
    if not question.read:
        yield StudyRow.read_at.is_(None)
    if question.status is not None:
        yield status_is(question.status)
    if question.priority is not None:
        yield StudyRow.priority == question.priority
    if question.region:
        yield StudyRow.anatomy == question.region
    if question.since is not None:
        yield StudyRow.received_at >= question.since
    if key := search_key(question.text):
        yield StudyRow.study_instance_uid.in_(_named(session, key, by_patient=question.by_patient))


def _hidden(question: ListQuestion) -> Iterator[_Filter]:
    """Expressions of columns, which no index has."""
    if question.status is not None:
        yield func.coalesce(StudyRow.status, "") == question.status.value
    if question.priority is not None:
        yield func.coalesce(StudyRow.priority, -1) == question.priority
    if question.region:
        yield func.coalesce(StudyRow.anatomy, "") == question.region


def _named(session: Session, key: str, *, by_patient: bool) -> Select[tuple[str]]:
    """Studies with a key that begins so."""
    columns = (StudyRow.accession_key, *((StudyRow.patient_key, *NAME_COLUMNS) if by_patient else ()))
    found = [
        select(StudyRow.study_instance_uid).where(begins(session, column, key)).limit(_MOST_NAMED).subquery()
        for column in columns
    ]
    every = union(*(select(one.c.study_instance_uid) for one in found)).subquery()
    return select(every.c.study_instance_uid)


def begins(session: Session, column: InstrumentedAttribute[str | None], key: str) -> _Filter:
    """As each database finds it by its index."""
    if session.get_bind().dialect.name == "postgresql":
        return column.startswith(key, autoescape=True)
    return column.between(key, key + _LAST_SIGN)


def _is_few(session: Session, since: datetime | None) -> bool:
    """Whether so few studies came since then that sorting them is quicker than looking for them in the whole list."""
    if since is None:
        return False
    some = select(StudyRow.received_at).where(StudyRow.received_at >= since).limit(_FEW + 1).subquery()
    return (session.scalar(select(func.count()).select_from(some)) or 0) <= _FEW


def _order(order: Order, *, indexed: bool) -> list[ColumnElement[Any]]:
    if order is Order.NEWEST_FIRST:
        return [StudyRow.received_at.desc(), StudyRow.study_instance_uid.asc()]
    # An expression of a column keeps the planner from the index of that order.
    priority: Any = StudyRow.priority if indexed else func.coalesce(StudyRow.priority, 0)
    return [
        priority.desc(),
        StudyRow.probability.desc().nulls_last(),
        StudyRow.received_at.asc(),
        StudyRow.study_instance_uid.asc(),
    ]


def _ranges(question: ListQuestion) -> Iterator[tuple[_Filter, ...]]:
    """What lies behind a place, in pieces each of which is one range of the index of that order."""
    place, row = question.after, StudyRow
    if place is None:
        yield ()
        return
    if question.order is Order.NEWEST_FIRST:
        yield row.received_at == place.received_at, row.study_instance_uid > place.study_instance_uid
        yield (row.received_at < place.received_at,)
        return
    same = row.priority == place.priority
    if place.probability is None:
        alike: tuple[_Filter, ...] = (same, row.probability.is_(None))
    else:
        alike = (same, row.probability == place.probability)
    yield *alike, row.received_at == place.received_at, row.study_instance_uid > place.study_instance_uid
    yield *alike, row.received_at > place.received_at
    if place.probability is not None:
        yield same, row.probability < place.probability
        yield same, row.probability.is_(None)
    yield (row.priority < place.priority,)


def _one(session: Session, study_instance_uid: str) -> Listed | None:
    row = session.get(StudyRow, study_instance_uid)
    return None if row is None else _with_others(session, [row])[0]


def _with_others(session: Session, rows: Sequence[StudyRow]) -> tuple[Listed, ...]:
    """What orders say, and who reads each: whoever claimed it here, else whoever works on its workitem at a PACS."""
    claimed = select(WorkitemRow.study_instance_uid, WorkitemRow.performer, WorkitemRow.modified_at).where(
        WorkitemRow.study_instance_uid.in_([row.study_instance_uid for row in rows]),
        WorkitemRow.latest.is_(True),
        WorkitemRow.state == StepState.IN_PROGRESS,
    )
    elsewhere = {uid: (performer, at) for uid, performer, at in session.execute(claimed)}
    known = ordered(session, rows)
    return tuple(_listed(row, known[row.study_instance_uid], elsewhere.get(row.study_instance_uid)) for row in rows)


def _listed(row: StudyRow, known: Circumstances, elsewhere: tuple[str | None, datetime] | None) -> Listed:
    here = Listed(
        item=item_of(row),
        known=known,
        claimed_by=row.claimed_by,
        claimed_at=row.claimed_at,
        read_by=row.read_by,
        read_at=row.read_at,
    )
    if row.claimed_by is not None or elsewhere is None:
        return here
    return replace(here, claimed_by=elsewhere[0] or "somebody at a PACS", claimed_at=elsewhere[1], at_pacs=True)


def _regions(session: Session) -> list[str]:
    """One step through the index a region, however many studies there are."""
    found: list[str] = []
    while (after := _next_region(session, found[-1] if found else "")) is not None:
        found.append(after)
    return found


def _next_region(session: Session, last: str) -> str | None:
    found: str | None = session.scalar(select(func.min(StudyRow.anatomy)).where(StudyRow.anatomy > last))
    return found


def _claim(session: Session, study_instance_uid: str, reader: str, now: datetime, stale_before: datetime) -> str | None:
    row = locked_study(session, study_instance_uid)
    if row is None:
        return None
    (listed,) = _with_others(session, [row])
    other = listed.claimed_by not in {None, reader}
    fresh = listed.claimed_at is not None and listed.claimed_at > stale_before
    if other and (fresh or row.claimed_by is None):  # what a PACS works on is not taken from it
        return listed.claimed_by
    _write(session, row, reader, "claimed", now, claimed_by=reader, claimed_at=now)
    return reader


def _release(session: Session, study_instance_uid: str, reader: str, now: datetime) -> bool:
    row = locked_study(session, study_instance_uid)
    if row is None or row.claimed_by != reader:
        return False
    _write(session, row, reader, "released", now, claimed_by=None, claimed_at=None)
    return True


def _mark_read(session: Session, study_instance_uid: str, reader: str, now: datetime, seen: int) -> bool:
    row = locked_study(session, study_instance_uid)
    if row is None or row.claimed_by not in {None, reader} or row.instances > seen:
        return False
    _write(session, row, reader, "read", now, claimed_by=None, claimed_at=None, read_by=reader, read_at=now)
    return True


def _mark_unread(session: Session, study_instance_uid: str, reader: str, now: datetime) -> bool:
    row = locked_study(session, study_instance_uid)
    if row is None or row.read_at is None:
        return False
    _write(session, row, reader, "unread", now, read_by=None, read_at=None)
    return True


def _write(session: Session, row: StudyRow, reader: str, what: str, now: datetime, **columns: object) -> None:
    same = StudyRow.study_instance_uid == row.study_instance_uid
    session.execute(update(StudyRow).where(same).values(**columns).execution_options(synchronize_session=False))
    event = AuditEvent(
        at=now,
        action=AuditAction.READING_CHANGED,
        actor=reader,
        study_instance_uid=row.study_instance_uid,
        detail={"to": what, "revision": row.revision},
    )
    append_audit(session, event)
