"""Rejection notes, and what no longer happens to the objects that they withdraw."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Family
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
        self,
        study_instance_uid: str,
        notes: Sequence[Shipment],
        objects: Sequence[Shipment],
        *,
        reason: RejectionReason,
        actor: str,
        now: datetime,
    ) -> int:
        """See `Withdrawals.withdraw`."""
        uids = [one.artifact.uid for one in objects if one.artifact.kind is not ArtifactKind.REJECTION]

        def work(session: Session) -> int:
            queued = _queue(session, study_instance_uid, notes, now)
            if queued:
                _mark(session, study_instance_uid, uids, now)
                append_audit(session, trail.results_withdrawn(study_instance_uid, notes, reason, actor, now))
            return queued

        return self._database.write(work)

    def withdrawn_of(self, study_instance_uid: str, limit: int) -> Sequence[Artifact]:
        """See `Withdrawals.withdrawn_of`."""
        statement = (
            select(ArtifactRow)
            .where(ArtifactRow.study_instance_uid == study_instance_uid, ArtifactRow.withdrawn_at.is_not(None))
            .order_by(ArtifactRow.revision.desc(), ArtifactRow.id.desc())
            .limit(limit)
        )
        return self._database.read(lambda session: [artifact_of(row) for row in session.scalars(statement)])


def _objects(session: Session, study_instance_uid: str) -> list[Shipment]:
    statement = (
        select(OutboxRow.destination, ArtifactRow)
        .join(ArtifactRow, ArtifactRow.id == OutboxRow.artifact_id)
        .where(
            OutboxRow.study_instance_uid == study_instance_uid,
            OutboxRow.state != DeliveryState.DEAD,
            ArtifactRow.withdrawn_at.is_(None),
        )
        .order_by(OutboxRow.id)
    )
    found = [Shipment(artifact=artifact_of(row), destination=to) for to, row in session.execute(statement)]
    return [shipment for shipment in found if shipment.artifact.kind.family is Family.DICOM_OBJECT]


def _queue(session: Session, study_instance_uid: str, notes: Sequence[Shipment], now: datetime) -> int:
    study = locked_study(session, study_instance_uid)
    if study is None or not notes:
        return 0
    before = _rows(session, study_instance_uid)
    enqueue(session, study_instance_uid, study.revision, notes, now, of_decision=True)
    queued = _rows(session, study_instance_uid) - before
    if queued:
        _ask_no_more(session, study_instance_uid, [note.destination for note in notes])
    return queued


def _mark(session: Session, study_instance_uid: str, uids: Sequence[str], now: datetime) -> None:
    """What the notes name, and what never reached anybody: nobody is shown it from here either."""
    somewhere = exists().where(OutboxRow.artifact_id == ArtifactRow.id, OutboxRow.state != DeliveryState.DEAD)
    kinds = [kind for kind in ArtifactKind if kind.family is Family.DICOM_OBJECT and kind is not ArtifactKind.REJECTION]
    statement = (
        update(ArtifactRow)
        .where(
            ArtifactRow.study_instance_uid == study_instance_uid,
            ArtifactRow.kind.in_(kinds),
            ArtifactRow.withdrawn_at.is_(None),
            or_(ArtifactRow.uid.in_(uids), ~somewhere),
        )
        .values(withdrawn_at=now)
        .execution_options(synchronize_session=False)
    )
    session.execute(statement)


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
