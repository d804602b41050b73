"""Storage commitment, asked of us: requests of peers, kept until they are answered. The port's part is at the end."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, insert, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.commitment import (
    AnswerState,
    CommitmentReport,
    CommitmentRequest,
    KeptInstance,
    OpenRequest,
    Reference,
    Reported,
)
from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import committing, trail
from triage_agent.worklist.rows import append_audit, word_is
from triage_agent.worklist.tables import CommitmentRequestRow, InstanceRow
from triage_agent.worklist.transactions import Database, changed

_AT_ONCE = 500  # UIDs a query; SQLite takes 32766 parameters, its older versions 999


def keep(
    session: Session, request: CommitmentRequest, now: datetime, answer_at: datetime, forget: datetime | None
) -> bool:
    """See `Commitments.keep_commitment_request`."""
    values: dict[str, object] = {
        "state": AnswerState.WAITING,
        "objects": [list(reference) for reference in request.references],
        "instances": len(request.references),
        "failures": None,
        "requested_at": now,
        "attempts": 0,
        "next_attempt_at": answer_at,
        "answered_at": None,
        "last_error": None,
    }
    again = (
        update(CommitmentRequestRow)
        .where(
            CommitmentRequestRow.peer == request.peer,
            CommitmentRequestRow.transaction_uid == request.transaction_uid,
        )
        .values(values)
        .execution_options(synchronize_session=False)
    )
    known = changed(session, again) == 1
    if not known:
        values |= {"peer": request.peer, "transaction_uid": request.transaction_uid}
        if not _taken_over(session, forget, values):
            session.execute(insert(CommitmentRequestRow).values(values))
    append_audit(session, trail.commitment_moved(AuditAction.COMMITMENT_REQUESTED, request, now, repeated=known))
    return not known


def _taken_over(session: Session, forget: datetime | None, values: dict[str, object]) -> bool:
    """Write a new request into the row of one that has ended: the agent's role may not delete (grants.sql)."""
    if forget is None:
        return False
    row = CommitmentRequestRow
    ended = (
        select(row.id)
        .where(row.next_attempt_at.is_(None), row.requested_at < forget)
        .order_by(row.requested_at, row.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    oldest = session.scalar(ended)
    if oldest is None:
        return False
    session.execute(update(row).where(row.id == oldest).values(values).execution_options(synchronize_session=False))
    return True


def any_due(session: Session, now: datetime, away: Collection[str]) -> bool:
    """Whether `claim` may find something; takes no lock."""
    return session.scalar((_ANY_DUE.where(*_except(away)) if away else _ANY_DUE), {"now": now}) is not None


_DUE = (
    word_is(CommitmentRequestRow.state, AnswerState.WAITING),
    CommitmentRequestRow.next_attempt_at <= bindparam("now", type_=CommitmentRequestRow.next_attempt_at.type),
)
_ANY_DUE = select(CommitmentRequestRow.id).where(*_DUE).limit(1)


def _except(away: Collection[str]) -> list[ColumnElement[bool]]:
    return [CommitmentRequestRow.peer.not_in(sorted(away))] if away else []


def claim(session: Session, now: datetime, until: datetime, away: Collection[str]) -> OpenRequest | None:
    """See `Commitments.claim_commitment_request`."""
    row = CommitmentRequestRow
    first = select(row).where(*_DUE, *_except(away)).order_by(row.next_attempt_at, row.id).limit(1)
    found = session.scalars(first.with_for_update(skip_locked=True), {"now": now}).one_or_none()
    if found is None:
        return None
    attempt = found.attempts + 1
    session.execute(
        update(row)
        .where(row.id == found.id)
        .values(attempts=attempt, next_attempt_at=until)
        .execution_options(synchronize_session=False)
    )
    references = tuple(Reference(*names) for names in found.objects)
    request = CommitmentRequest(peer=found.peer, transaction_uid=found.transaction_uid, references=references)
    return OpenRequest(request_id=found.id, attempt=attempt, request=request)


def _write(session: Session, claimed: OpenRequest, **values: object) -> bool:
    """Change a request, unless another attempt at it has begun or it was asked for anew."""
    statement = (
        update(CommitmentRequestRow)
        .where(
            CommitmentRequestRow.id == claimed.request_id,
            CommitmentRequestRow.state == AnswerState.WAITING,
            CommitmentRequestRow.attempts == claimed.attempt,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement) == 1


def hold(session: Session, claimed: OpenRequest, until: datetime) -> None:
    """See `Commitments.hold_commitment_request`."""
    _write(session, claimed, next_attempt_at=until)


def answered(session: Session, claimed: OpenRequest, failures: int, now: datetime) -> None:
    """See `Commitments.commitment_answered`."""
    if _write(
        session,
        claimed,
        state=AnswerState.ANSWERED,
        objects=[],
        next_attempt_at=None,
        failures=failures,
        answered_at=now,
        last_error=None,
    ):
        event = trail.commitment_moved(
            AuditAction.COMMITMENT_ANSWERED, claimed.request, now, failures=failures, attempt=claimed.attempt
        )
        append_audit(session, event)


def unanswered(session: Session, claimed: OpenRequest, error: str, retry_at: datetime | None, now: datetime) -> None:
    """See `Commitments.commitment_unanswered`."""
    if retry_at is not None:
        _write(session, claimed, next_attempt_at=retry_at, last_error=error)
    elif _write(session, claimed, state=AnswerState.DEAD, objects=[], next_attempt_at=None, last_error=error):
        event = trail.commitment_moved(AuditAction.COMMITMENT_DEAD, claimed.request, now, attempt=claimed.attempt)
        append_audit(session, event)


def kept_instances(session: Session, sop_instance_uids: Collection[str]) -> Mapping[str, KeptInstance]:
    """See `Commitments.kept_instances`."""
    row, found = InstanceRow, {}
    for some in _portions(sorted(set(sop_instance_uids))):
        statement = select(row.sop_instance_uid, row.sop_class_uid, row.path, row.size, row.sha256)
        statement = statement.where(row.original_deleted_at.is_(None))
        for uid, sop_class_uid, path, size, sha256 in session.execute(statement.where(row.sop_instance_uid.in_(some))):
            found[uid] = KeptInstance(
                sop_instance_uid=uid, sop_class_uid=sop_class_uid, path=path, size=size, sha256=sha256
            )
    return found


def _portions(uids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(uids), _AT_ONCE):
        yield uids[start : start + _AT_ONCE]


class SqlCommitments:
    """The `Commitments` part of the port on SQLite or Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_commitment_request(
        self, request: CommitmentRequest, now: datetime, answer_at: datetime, forget: datetime | None = None
    ) -> bool:
        """See `Commitments.keep_commitment_request`."""
        return self._database.write(lambda session: keep(session, request, now, answer_at, forget))

    def claim_commitment_request(
        self, now: datetime, until: datetime, away: Collection[str] = ()
    ) -> OpenRequest | None:
        """See `Commitments.claim_commitment_request`."""
        return self._database.claim(
            lambda session: any_due(session, now, away),
            lambda session: claim(session, now, until, away),
            None,
            lasting=False,
        )

    def hold_commitment_request(self, claimed: OpenRequest, until: datetime) -> None:
        """See `Commitments.hold_commitment_request`."""
        self._database.write(lambda session: hold(session, claimed, until))

    def kept_instances(self, sop_instance_uids: Collection[str]) -> Mapping[str, KeptInstance]:
        """See `Commitments.kept_instances`."""
        return self._database.read(lambda session: kept_instances(session, sop_instance_uids))

    def commitment_answered(self, claimed: OpenRequest, failures: int, now: datetime) -> None:
        """See `Commitments.commitment_answered`."""
        self._database.write(lambda session: answered(session, claimed, failures, now))

    def commitment_unanswered(self, claimed: OpenRequest, error: str, retry_at: datetime | None, now: datetime) -> None:
        """See `Commitments.commitment_unanswered`."""
        self._database.write(lambda session: unanswered(session, claimed, error, retry_at, now))

    def claim_commitments(
        self, destination: str, transaction_uid: str, now: datetime, until: datetime, limit: int, most_asks: int
    ) -> Sequence[Artifact]:
        """See `Commitments.claim_commitments`."""
        return self._database.write(
            lambda session: committing.claim(session, destination, transaction_uid, now, until, limit, most_asks)
        )

    def commitments_asked(self, transaction_uid: str, until: datetime) -> None:
        """See `Commitments.commitments_asked`."""
        self._database.write(lambda session: committing.asked(session, transaction_uid, until))

    def commitments_not_asked(self, transaction_uid: str, error: str, again_at: datetime, *, counted: bool) -> None:
        """See `Commitments.commitments_not_asked`."""
        self._database.write(
            lambda session: committing.not_asked(session, transaction_uid, error, again_at, counted=counted)
        )

    def commitment_reported(
        self, destinations: Collection[str], report: CommitmentReport, most_resends: int, now: datetime
    ) -> Reported:
        """See `Commitments.commitment_reported`."""
        return self._database.write(
            lambda session: committing.reported(session, destinations, report, most_resends, now)
        )
