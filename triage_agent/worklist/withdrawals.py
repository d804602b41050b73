"""Rejection notes, and what no longer happens to the objects that they withdraw."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.decision import Shipment
from triage_agent.domain.vocabulary import DeliveryState, Family
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.worklist import trail
from triage_agent.worklist.outbox import artifact_of, enqueue
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import ArtifactRow, OutboxRow
from triage_agent.worklist.transactions import Database


class SqlWithdrawals:
    """The port `Withdrawals` on a database."""

    _database: Database

    def objects_of(self, study_instance_uid: str) -> Sequence[Shipment]:
        """See `Withdrawals.objects_of`."""
        return self._database.read(lambda session: _objects(session, study_instance_uid))

    def withdraw(
        self, study_instance_uid: str, notes: Sequence[Shipment], reason: RejectionReason, actor: str, now: datetime
    ) -> int:
        """See `Withdrawals.withdraw`."""
        return self._database.write(lambda session: _withdraw(session, study_instance_uid, notes, reason, actor, now))


def _objects(session: Session, study_instance_uid: str) -> list[Shipment]:
    statement = (
        select(OutboxRow.destination, ArtifactRow)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(OutboxRow.study_instance_uid == study_instance_uid, OutboxRow.state != DeliveryState.DEAD)
        .order_by(OutboxRow.id)
    )
    found = [Shipment(artifact=artifact_of(row), destination=to) for to, row in session.execute(statement)]
    return [shipment for shipment in found if shipment.artifact.kind.family is Family.DICOM_OBJECT]


def _withdraw(
    session: Session,
    study_instance_uid: str,
    notes: Sequence[Shipment],
    reason: RejectionReason,
    actor: str,
    now: datetime,
) -> int:
    study = locked_study(session, study_instance_uid)
    if study is None or not notes:
        return 0
    before = _rows(session, study_instance_uid)
    enqueue(session, study_instance_uid, study.revision, notes, now, of_decision=True)
    queued = _rows(session, study_instance_uid) - before
    if queued:
        _ask_no_more(session, study_instance_uid, [note.destination for note in notes])
        append_audit(session, trail.results_withdrawn(study_instance_uid, notes, reason, actor, now))
    return queued


def _rows(session: Session, study_instance_uid: str) -> int:
    statement = select(func.count()).where(OutboxRow.study_instance_uid == study_instance_uid)
    return session.scalar(statement) or 0


def _ask_no_more(session: Session, study_instance_uid: str, destinations: Sequence[str]) -> None:
    """A destination that has let a withdrawn object go would say that it keeps none, and be sent it again."""
    statement = (
        update(OutboxRow)
        .where(
            OutboxRow.study_instance_uid == study_instance_uid,
            OutboxRow.destination.in_(destinations),
            OutboxRow.state == DeliveryState.SENT,
        )
        .values(commit_at=None, transaction_uid=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(statement)
