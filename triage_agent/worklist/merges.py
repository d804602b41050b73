"""Merges of patients: orders and images that come later may still state the Patient ID that was given up."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, insert, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from triage_agent.domain.orders import MergedPatient, Message, PatientUpdate
from triage_agent.domain.study import InstanceHeader
from triage_agent.worklist.merge_rules import Merge, Survivor, merge_of_json, survivor_of
from triage_agent.worklist.statements import OF, is_asked
from triage_agent.worklist.tables import Base, StudyRow
from triage_agent.worklist.transactions import changed
from triage_agent.worklist.turns import take_turns
from triage_agent.worklist.types import FittedText


class MergeRow(Base):
    """Whose a Patient ID has become; the patient's own where a later merge went the other way."""

    __tablename__ = "patient_merges"

    prior_patient_id: Mapped[str] = mapped_column(FittedText(64), primary_key=True)
    survivor: Mapped[dict[str, Any]] = mapped_column(JSON)
    control_id: Mapped[str] = mapped_column(FittedText(200))
    sender: Mapped[str] = mapped_column(FittedText(200))
    merged_at: Mapped[datetime]


_MERGE = select(MergeRow).where(is_asked(MergeRow.prior_patient_id)).execution_options(populate_existing=True)
_MERGED = select(StudyRow.merged).where(is_asked(StudyRow.study_instance_uid))


def note_merge(session: Session, prior_ids: Sequence[str], into: PatientUpdate, message: Message) -> None:
    """Remember it for what comes later. The Patient ID that stays is nobody else's any more: no circle of merges."""
    for prior in prior_ids:
        if prior != into.patient_id and not _write(session, prior, into, message):
            values = {"prior_patient_id": prior, **_columns(into, message)}
            session.execute(insert(MergeRow).values(values))
    _write(session, into.patient_id, into, message)


def _write(session: Session, prior: str, into: PatientUpdate, message: Message) -> bool:
    statement = update(MergeRow).where(MergeRow.prior_patient_id == prior).values(_columns(into, message))
    return changed(session, statement.execution_options(synchronize_session=False)) == 1


def _columns(into: PatientUpdate, message: Message) -> Mapping[str, object]:
    said = {"control_id": message.control_id, "sender": message.sender, "merged_at": message.received_at}
    return {"survivor": asdict(into), **said}


def survivor(session: Session, patient_id: str) -> Survivor | None:
    """Who a patient is by now; nobody merges that one until the transaction ends."""
    return survivor_of(patient_id, lambda number: _merge_of(session, number))


def survivor_for(session: Session, study: StudyRow | None, header: InstanceHeader) -> Survivor | None:
    """Who the patient of an instance is by now; None, too, where its study knows already."""
    if study is not None and header.patient_id == study.patient_id:
        return None
    known = None if study is None else merge_of_json(study.merged)
    if not header.patient_id or (known is not None and header.patient_id in known.prior_ids):
        return None
    take_turns(session, (header.patient_id, header.study_instance_uid, header.accession_number))
    return survivor(session, header.patient_id)


def _merge_of(session: Session, patient_id: str) -> Merge | None:
    take_turns(session, (patient_id,))
    row = session.scalars(_MERGE, {OF: patient_id}).one_or_none()
    if row is None:
        return None
    message = Message(control_id=row.control_id, sender=row.sender, received_at=row.merged_at)
    return Merge(into=PatientUpdate(**row.survivor), message=message)


def merged_of(session: Session, study_instance_uid: str) -> MergedPatient | None:
    """See `Orders.merged_of`."""
    return merge_of_json(session.scalar(_MERGED, {OF: study_instance_uid}))
