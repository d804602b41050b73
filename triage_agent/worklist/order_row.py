"""The table of orders; an order stands here before its study has come, and may never have one."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Index, String, text
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from triage_agent.domain.orders import OrderRecord, OrderStatus
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist.order_rules import TEXTS
from triage_agent.worklist.tables import _SURROGATE, Base
from triage_agent.worklist.types import FittedText, words


class OrderRow(Base):
    """One order, as its RIS said last; what is not known is null."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    placer_order_number: Mapped[str | None] = mapped_column(FittedText(64))
    filler_order_number: Mapped[str | None] = mapped_column(FittedText(64))
    accession_number: Mapped[str | None] = mapped_column(FittedText(64))
    study_instance_uid: Mapped[str | None] = mapped_column(FittedText(64))
    patient_id: Mapped[str | None] = mapped_column(FittedText(64))
    issuer_of_patient_id: Mapped[str | None] = mapped_column(FittedText(64))
    patient_name: Mapped[str | None] = mapped_column(FittedText(324))
    patient_birth_date: Mapped[str | None] = mapped_column(FittedText(8))
    patient_sex: Mapped[str | None] = mapped_column(FittedText(16))
    patient_class: Mapped[str | None] = mapped_column(FittedText(16))
    patient_location: Mapped[str | None] = mapped_column(FittedText(200))
    admission_id: Mapped[str | None] = mapped_column(FittedText(64))
    requested_procedure_id: Mapped[str | None] = mapped_column(FittedText(64))
    procedure_code: Mapped[str | None] = mapped_column(FittedText(64))
    procedure_coding_scheme: Mapped[str | None] = mapped_column(FittedText(64))
    procedure_description: Mapped[str | None] = mapped_column(FittedText(200))
    indication: Mapped[str | None] = mapped_column(FittedText(1000))
    referring_physician: Mapped[str | None] = mapped_column(FittedText(324))
    ordering_physician: Mapped[str | None] = mapped_column(FittedText(324))
    scheduled_date: Mapped[str | None] = mapped_column(FittedText(8))
    scheduled_time: Mapped[str | None] = mapped_column(FittedText(6))
    scheduled_step_id: Mapped[str | None] = mapped_column(FittedText(64))
    scheduled_station_ae_title: Mapped[str | None] = mapped_column(FittedText(64))
    scheduled_station_name: Mapped[str | None] = mapped_column(FittedText(64))
    modality: Mapped[str | None] = mapped_column(FittedText(16))
    priority: Mapped[Priority]
    status: Mapped[OrderStatus] = mapped_column(words(OrderStatus))
    study_here: Mapped[str | None] = mapped_column(String(64))
    control_id: Mapped[str] = mapped_column(FittedText(200))
    sender: Mapped[str] = mapped_column(FittedText(200))
    received_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    written_at: Mapped[datetime | None]
    priority_written_at: Mapped[datetime | None]

    def record(self) -> OrderRecord:
        """As the domain sees it."""
        return OrderRecord(
            order_id=self.id,
            **{name: getattr(self, name) or "" for name in TEXTS},
            priority=self.priority,
            status=self.status,
            study_here=self.study_here or "",
            control_id=self.control_id,
            sender=self.sender,
            received_at=self.received_at,
            changed_at=self.changed_at,
            written_at=self.written_at,
            priority_written_at=self.priority_written_at,
        )


def columns_of(record: OrderRecord) -> Mapping[str, object]:
    """A record as its row's values, without its number."""
    texts = {name: getattr(record, name) or None for name in (*TEXTS, "study_here")}
    times = ("received_at", "changed_at", "written_at", "priority_written_at")
    others = ("priority", "status", "control_id", "sender", *times)
    return {**texts, **{name: getattr(record, name) for name in others}}


def _known(name: str, column: InstrumentedAttribute[str | None]) -> None:
    condition = text(f"{column.key} IS NOT NULL")
    Index(name, column, sqlite_where=condition, postgresql_where=condition)


_known("ix_orders_filler", OrderRow.filler_order_number)  # keep_orders()
_known("ix_orders_placer", OrderRow.placer_order_number)
_known("ix_orders_accession", OrderRow.accession_number)  # keep_orders(), register()
_known("ix_orders_study", OrderRow.study_instance_uid)  # register()
_known("ix_orders_here", OrderRow.study_here)  # study()
_known("ix_orders_patient", OrderRow.patient_id)  # merge_patient()
Index("ix_orders_changed", OrderRow.changed_at)  # orders(), scheduled()
Index("ix_orders_scheduled", OrderRow.scheduled_date)  # scheduled()
