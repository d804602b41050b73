"""What is fetched from a PACS: each study by one process at a time, a bounded number of times."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Update, insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.retrieval import Held, Retrieval, RetrievalRecord, RetrievalState
from triage_agent.domain.vocabulary import Status
from triage_agent.worklist import trail
from triage_agent.worklist.retrieval_row import RetrievalRow
from triage_agent.worklist.rows import append_audit, lease_is_free, locked_study, word_is
from triage_agent.worklist.statements import OF, is_asked
from triage_agent.worklist.tables import ArtifactRow, InstanceRow, StudyRow
from triage_agent.worklist.transactions import Database, changed

_LAST = select(RetrievalRow).where(is_asked(RetrievalRow.study_instance_uid))


class SqlRetrievals:
    """The port `Retrievals` on a database."""

    _database: Database

    def want_retrieval(
        self, study_instance_uid: str, peer: str, now: datetime, *, requested_by: str, revision: int = 0
    ) -> bool:
        """See `Retrievals.want_retrieval`."""
        return self._database.write(
            lambda session: _want(session, study_instance_uid, peer, now, requested_by, revision)
        )

    def claim_retrieval(
        self, owner: str, now: datetime, lease: timedelta, study_instance_uid: str | None = None
    ) -> Retrieval | None:
        """See `Retrievals.claim_retrieval`."""
        return self._database.write(lambda session: _claim(session, owner, now, lease, study_instance_uid))

    def retrieval_learnt(self, retrieval: Retrieval, expected: int, missing: Sequence[str]) -> bool:
        """See `Retrievals.retrieval_learnt`."""
        learnt = _held_by(retrieval).values(expected=expected, missing=list(missing))
        return self._database.write(lambda session: changed(session, learnt) == 1)

    def retrieval_ended(
        self, retrieval: Retrieval, now: datetime, *, error: str | None, retry_at: datetime | None
    ) -> bool:
        """See `Retrievals.retrieval_ended`."""
        return self._database.write(lambda session: _end(session, retrieval, now, error, retry_at))

    def retrieval_of(self, study_instance_uid: str) -> RetrievalRecord | None:
        """See `Retrievals.retrieval_of`."""
        return self._database.read(lambda session: record_of(session, study_instance_uid))

    def held_of(self, study_instance_uid: str) -> Held:
        """See `Retrievals.held_of`."""
        return self._database.read(lambda session: _held(session, study_instance_uid))


def record_of(session: Session, study_instance_uid: str) -> RetrievalRecord | None:
    """The last retrieval of a study."""
    row = session.scalars(_LAST, {OF: study_instance_uid}).one_or_none()
    return None if row is None else row.record()


def give_back(session: Session, owner: str, now: datetime, *, taken_back: int) -> int:
    """What `owner` fetches is free at once for whoever comes next."""
    statement = (
        update(RetrievalRow)
        .where(RetrievalRow.lease_owner == owner, RetrievalRow.state == RetrievalState.WAITING)
        .values(lease_owner=None, lease_until=None, next_attempt_at=now, attempts=RetrievalRow.attempts - taken_back)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement)


def _want(session: Session, uid: str, peer: str, now: datetime, requested_by: str, revision: int) -> bool:
    study = locked_study(session, uid)
    by_itself = revision > 0
    if by_itself and (study is None or (study.status, study.revision) != (Status.RECEIVING, revision)):
        return False
    row = session.get(RetrievalRow, uid, with_for_update=True)
    if row is not None:
        is_open = row.state is RetrievalState.WAITING
        if by_itself and (is_open or row.revision == revision):
            return False
        if is_open and row.lease_until is not None and row.lease_until > now:
            return True
    values: dict[str, object] = {
        "peer": peer,
        "state": RetrievalState.WAITING,
        "requested_by": requested_by,
        "requested_at": now,
        "revision": revision or (0 if row is None else row.revision),
        "attempts": 0,
        "next_attempt_at": now,
        "lease_owner": None,
        "lease_until": None,
        "expected": None,
        "missing": [],
        "ended_at": None,
        "last_error": None,
    }
    if row is None:
        session.execute(insert(RetrievalRow).values(study_instance_uid=uid, **values))
    else:
        session.execute(update(RetrievalRow).where(RetrievalRow.study_instance_uid == uid).values(**values))
    append_audit(session, trail.retrieval_requested(uid, peer=peer, actor=requested_by, at=now))
    return True


def _claim(session: Session, owner: str, now: datetime, lease: timedelta, uid: str | None) -> Retrieval | None:
    due = RetrievalRow.next_attempt_at <= now if uid is None else RetrievalRow.study_instance_uid == uid
    free = (
        select(RetrievalRow)
        .where(word_is(RetrievalRow.state, RetrievalState.WAITING), due, lease_is_free(RetrievalRow.lease_until, now))
        .order_by(RetrievalRow.next_attempt_at, RetrievalRow.study_instance_uid)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = session.scalars(free).one_or_none()
    if row is None:
        return None
    row.lease_owner, row.lease_until, row.attempts = owner, now + lease, row.attempts + 1
    return Retrieval(
        study_instance_uid=row.study_instance_uid,
        peer=row.peer,
        requested_by=row.requested_by,
        owner=owner,
        attempt=row.attempts,
        everything=row.requested_by != trail.AGENT,
    )


def _held_by(retrieval: Retrieval) -> Update:
    """An update of the retrieval while it is still held for the same attempt (compare-and-set)."""
    return (
        update(RetrievalRow)
        .where(
            RetrievalRow.study_instance_uid == retrieval.study_instance_uid,
            RetrievalRow.state == RetrievalState.WAITING,
            RetrievalRow.lease_owner == retrieval.owner,
            RetrievalRow.attempts == retrieval.attempt,
        )
        .execution_options(synchronize_session=False)
    )


def _end(session: Session, retrieval: Retrieval, now: datetime, error: str | None, retry_at: datetime | None) -> bool:
    uid = retrieval.study_instance_uid
    study = locked_study(session, uid)
    state = RetrievalState.DONE if error is None else RetrievalState.GIVEN_UP
    if error is not None and retry_at is not None:
        state = RetrievalState.WAITING
    is_over = state is not RetrievalState.WAITING
    ended = _held_by(retrieval).values(
        state=state,
        lease_owner=None,
        lease_until=None,
        last_error=error,
        next_attempt_at=retry_at or now,
        ended_at=now if is_over else None,
    )
    if changed(session, ended) != 1:
        return False
    if is_over:
        append_audit(session, trail.retrieval_ended(retrieval, state=state, at=now))
        _look_again(session, study, now)
    return True


def _look_again(session: Session, study: StudyRow | None, now: datetime) -> None:
    if study is not None and study.status is Status.RECEIVING:
        session.execute(
            update(StudyRow)
            .where(StudyRow.study_instance_uid == study.study_instance_uid)
            .values(next_check_at=now)
            .execution_options(synchronize_session=False)
        )


def _held(session: Session, uid: str) -> Held:
    instances = session.scalars(select(InstanceRow.sop_instance_uid).where(InstanceRow.study_instance_uid == uid))
    results = session.scalars(select(ArtifactRow.uid).where(ArtifactRow.study_instance_uid == uid))
    return Held(instances=frozenset(instances), own_results=frozenset(results))
