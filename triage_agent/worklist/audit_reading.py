"""Reads the audit trail: the one reader, for pages, commands and exports.

Records are in the order of their times, and of their ids within one. Each question is at most a few ranges of an index,
also at a million records: one for each action that is asked for (or that the actor is known for), of each of which no
more is read than is shown. Values come as they are stored, so that a row that somebody tampered with is shown, too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, bindparam, func, select, text, type_coerce, union, union_all
from sqlalchemy.orm import Session

from triage_agent.domain.audit import AuditQuestion, AuditRecord
from triage_agent.domain.reading import search_key
from triage_agent.worklist import sealing
from triage_agent.worklist.reading import NAME_COLUMNS, begins
from triage_agent.worklist.tables import AuditRow, StudyRow
from triage_agent.worklist.transactions import Database

_PIECE = 1000
_action = type_coerce(AuditRow.action, String)  # also what is none of ours

_Filter = ColumnElement[bool]


class SqlAuditTrail:
    """The `AuditTrail` port on SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(self, question: AuditQuestion) -> Sequence[AuditRecord]:
        """See `AuditTrail.records`."""
        return self._database.read(lambda session: _records(session, question))

    def walk(self, question: AuditQuestion) -> Iterator[AuditRecord]:
        """See `AuditTrail.walk`."""
        left, after = question.limit, None
        while left is None or left > 0:
            piece = replace(question, before=None, limit=_PIECE if left is None else min(_PIECE, left))
            found = self._database.read(lambda session: _records(session, piece, after=after, oldest_first=True))  # noqa: B023, used at once
            yield from found
            if len(found) < (piece.limit or 0):
                return
            left, after = None if left is None else left - len(found), found[-1].id

    def latest(self, limit: int) -> Sequence[AuditRecord]:
        """See `AuditTrail.latest`."""

        def work(session: Session) -> list[AuditRecord]:
            ids = session.scalars(select(AuditRow.id).order_by(AuditRow.id.desc()).limit(limit)).all()
            return _rows(session, ids[::-1])

        return self._database.read(work)

    def studies_of_patient(self, text: str, most: int) -> Sequence[str]:
        """See `AuditTrail.studies_of_patient`."""
        key = search_key(text)
        if key is None:
            return ()

        def work(session: Session) -> list[str]:
            filters = (StudyRow.patient_key == key, *(begins(session, column, key) for column in NAME_COLUMNS))
            found = [select(StudyRow.study_instance_uid).where(one).limit(most).subquery() for one in filters]
            return list(session.scalars(union(*(select(one.c.study_instance_uid) for one in found)).limit(most)))

        return self._database.read(work)

    def patients(self, studies: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """See `AuditTrail.patients`."""
        statement = select(StudyRow.study_instance_uid, StudyRow.patient_id, StudyRow.patient_name)
        found = statement.where(StudyRow.study_instance_uid.in_(studies), StudyRow.patient_id.is_not(None))
        return self._database.read(
            lambda session: {
                row.study_instance_uid: (row.patient_id, row.patient_name or "") for row in session.execute(found)
            }
        )


def _records(
    session: Session, question: AuditQuestion, *, after: int | None = None, oldest_first: bool = False
) -> list[AuditRecord]:
    """The records of one page, or of one piece of a walk, that begins behind `after`."""
    if question.wanted_studies == ():
        return []
    last = after if oldest_first else question.before
    parts: list[Select[int, datetime]] = []
    for part, indexed in _parts(session, question):
        at: Any = AuditRow.at if indexed else _unindexed(AuditRow.at)
        found = select(AuditRow.id, AuditRow.at).where(*part, *_period(question, at), *_behind(last, at, oldest_first))
        order = [at.asc(), AuditRow.id.asc()] if oldest_first else [at.desc(), AuditRow.id.desc()]
        parts.append(found.order_by(*order).limit(question.limit))
    if not parts:
        return []
    return _rows(session, [row[0] for row in session.execute(_merged(parts, question.limit, oldest_first))])


def _merged(parts: Sequence[Select[int, datetime]], limit: int | None, oldest_first: bool) -> Select[Any]:
    if len(parts) == 1:
        return parts[0].with_only_columns(AuditRow.id)  # no time is read that is none
    every = union_all(*(select(one.subquery()) for one in parts)).subquery()
    order = [every.c.at, every.c.id] if oldest_first else [every.c.at.desc(), every.c.id.desc()]
    return select(every.c.id).order_by(*order).limit(limit)


def _parts(session: Session, question: AuditQuestion) -> Iterator[tuple[list[_Filter], bool]]:
    """What each range of an index is asked for; and whether that index has the order, too."""
    actions: Collection[str] = sorted(one.value for one in question.wanted_actions)
    if (studies := question.wanted_studies) is not None:
        conditions: list[_Filter] = [AuditRow.study_instance_uid.in_(studies)]
        conditions += [_unindexed(AuditRow.actor).in_(question.actors)] if question.actor else []
        conditions += [_unindexed(_action).in_(actions)] if actions else []
        yield conditions, False
    elif question.actor:
        for actor in question.actors:
            for action in actions or _actions_of(session, actor):
                yield [AuditRow.actor == actor, _action == action], True
    elif actions:
        for action in actions:
            yield [_action == action], True
    else:
        yield [], True


def _actions_of(session: Session, actor: str) -> Iterator[str]:
    """Whatever somebody has done: one step through the index an action, however many records there are."""
    last = ""
    while True:
        following = select(func.min(_action)).where(AuditRow.actor == actor, _action > last)
        if (found := session.scalar(following)) is None:
            return
        last = str(found)
        yield last


def _period(question: AuditQuestion, at: Any) -> Iterator[_Filter]:
    if question.since is not None:
        yield at >= question.since
    if question.until is not None:
        yield at < question.until


def _behind(last: int | None, at: Any, oldest_first: bool) -> Iterator[_Filter]:
    """What comes after the record that a page ended with, in its order."""
    if last is None:
        return
    # As it is stored, and compared by the database.
    its = select(AuditRow.at).where(AuditRow.id == last).scalar_subquery()
    if oldest_first:
        yield at >= its
        yield (at > its) | (AuditRow.id > last)
    else:
        yield at <= its
        yield (at < its) | (AuditRow.id < last)


def _unindexed(column: Any) -> Any:
    """An expression of a column keeps the planner from its indexes, where another one is by far the best."""
    return func.coalesce(column, column, type_=column.type)


def _rows(session: Session, ids: Sequence[int]) -> list[AuditRecord]:
    """Records by their ids, in that order."""
    statement = text(f"SELECT {sealing.columns(session)} FROM audit_events e WHERE e.id IN :wanted")  # noqa: S608
    listed = statement.bindparams(bindparam("wanted", expanding=True))
    found: dict[int, AuditRecord] = {}
    for first in range(0, len(ids), _PIECE):
        for row in session.execute(listed, {"wanted": ids[first : first + _PIECE]}):
            found[row[0]] = sealing.record_of(row)
    return [found[one] for one in ids if one in found]
