"""Storage commitment, asked by us: what was sent, and whether its destination keeps it."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.commitment import CommitmentReport, Reported
from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist import trail
from triage_agent.worklist.limits import not_committed, unanswered_commitment
from triage_agent.worklist.outbox import artifact_of, settle
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import ArtifactRow, OutboxRow
from triage_agent.worklist.transactions import changed

_AT_ONCE = 500  # UIDs a query


def claim(
    session: Session,
    destination: str,
    transaction_uid: str,
    now: datetime,
    until: datetime,
    limit: int,
    most_asks: int,
) -> Sequence[Artifact]:
    """See `Commitments.claim_commitments`."""
    due = (OutboxRow.state == DeliveryState.SENT, OutboxRow.destination == destination, OutboxRow.commit_at <= now)
    _change(
        session,
        *due,
        OutboxRow.commit_asks >= most_asks,
        commit_at=None,
        last_error=unanswered_commitment(most_asks),
    )
    statement = (
        select(OutboxRow.id, ArtifactRow)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(*due)
        .order_by(OutboxRow.commit_at, OutboxRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=OutboxRow)
    )
    found = session.execute(statement).all()
    if found:
        _change(
            session,
            OutboxRow.id.in_([number for number, _ in found]),
            transaction_uid=transaction_uid,
            commit_at=until,
            commit_asks=OutboxRow.commit_asks + 1,
        )
    return [artifact_of(artifact) for _, artifact in found]


def asked(session: Session, transaction_uid: str, until: datetime) -> None:
    """See `Commitments.commitments_asked`; a report may have come already, and another question been put."""
    _change(session, *_open(transaction_uid), commit_at=until)


def not_asked(session: Session, transaction_uid: str, error: str, again_at: datetime, *, counted: bool) -> None:
    """See `Commitments.commitments_not_asked`."""
    _change(
        session,
        *_open(transaction_uid),
        commit_at=again_at,
        commit_asks=OutboxRow.commit_asks - (0 if counted else 1),
        last_error=error,
    )


def reported(
    session: Session, destinations: Collection[str], report: CommitmentReport, most_resends: int, now: datetime
) -> Reported:
    """See `Commitments.commitment_reported`."""
    reasons = {reference.sop_instance_uid: reason for reference, reason in report.failed}
    kept = {reference.sop_instance_uid for reference in report.committed} - reasons.keys()
    rows = [*_rows(session, destinations, kept), *_rows(session, destinations, reasons)]
    for study_instance_uid in sorted({row.study_instance_uid for row in rows}):
        locked_study(session, study_instance_uid)  # the first row that every writer locks
    committed = resent = dead = 0
    for row in rows:
        if row.uid in kept:
            committed += _commit(session, row, now)
        elif row.transaction_uid == report.transaction_uid:
            is_last = row.commit_resends >= most_resends
            if _fail(session, row, reasons[row.uid], now, is_last=is_last):
                dead += is_last
                resent += not is_last
    return Reported(committed=committed, resent=resent, dead=dead)


_Asked = Row[int, str, int, str, str | None, int, str]


def _rows(session: Session, destinations: Collection[str], uids: Collection[str]) -> list[_Asked]:
    """What these destinations were sent and asked about, of these objects; none is held yet."""
    ordered = sorted(uids)
    found: list[_Asked] = []
    for start in range(0, len(ordered), _AT_ONCE):
        statement = (
            select(
                OutboxRow.id,
                OutboxRow.study_instance_uid,
                OutboxRow.revision,
                OutboxRow.destination,
                OutboxRow.transaction_uid,
                OutboxRow.commit_resends,
                ArtifactRow.uid,
            )
            .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
            .where(
                ArtifactRow.uid.in_(ordered[start : start + _AT_ONCE]),
                OutboxRow.destination.in_(sorted(destinations)),
                OutboxRow.state == DeliveryState.SENT,
                OutboxRow.transaction_uid.is_not(None),
            )
        )
        found += session.execute(statement).all()
    return found


def _commit(session: Session, row: _Asked, now: datetime) -> bool:
    values = {"state": DeliveryState.COMMITTED, "committed_at": now, "commit_at": None, "last_error": None}
    if not _change(session, OutboxRow.id == row.id, OutboxRow.state == DeliveryState.SENT, **values):
        return False
    event = trail.delivery_committed(
        row.study_instance_uid, destination=row.destination, uid=row.uid, revision=row.revision, at=now
    )
    append_audit(session, event)
    return True


def _fail(session: Session, row: _Asked, reason: int, now: datetime, *, is_last: bool) -> bool:
    """Send it again, or never again."""
    changed_one = _change(
        session,
        OutboxRow.id == row.id,
        OutboxRow.state == DeliveryState.SENT,
        OutboxRow.transaction_uid == row.transaction_uid,
        state=DeliveryState.DEAD if is_last else DeliveryState.PENDING,
        next_attempt_at=None if is_last else now,
        commit_resends=OutboxRow.commit_resends + (0 if is_last else 1),
        commit_at=None,
        transaction_uid=None,
        last_error=not_committed(reason),
    )
    if not changed_one:
        return False
    event = trail.delivery_not_committed(
        row.study_instance_uid,
        destination=row.destination,
        uid=row.uid,
        revision=row.revision,
        reason=reason,
        dead=is_last,
        at=now,
    )
    append_audit(session, event)
    settle(session, row.study_instance_uid, now)
    return True


def _open(transaction_uid: str) -> tuple[ColumnElement[bool], ...]:
    return (OutboxRow.transaction_uid == transaction_uid, OutboxRow.state == DeliveryState.SENT)


def _change(session: Session, *which: ColumnElement[bool], **values: object) -> bool:
    statement = update(OutboxRow).where(*which).values(**values).execution_options(synchronize_session=False)
    return changed(session, statement) > 0
