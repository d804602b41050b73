"""The tables as the code sees them; `migrations/` is what makes them, and a test that both agree.

The triggers that keep promises 3 and 4 in the database (a priority never falls, a status moves only along
`domain.states.TRANSITIONS`, audit events are never changed) live in the migration alone.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from triage_agent.domain.commitment import AnswerState
from triage_agent.domain.vocabulary import (
    ArtifactKind,
    AuditAction,
    DeliveryState,
    Event,
    Finding,
    Outcome,
    Priority,
    Status,
)
from triage_agent.worklist.types import FittedText, RankedPriority, UtcDateTime, words

_UID = 64  # PS3.5 section 9.1
_SURROGATE = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER


class Base(DeclarativeBase):
    """The metadata of every table."""

    type_annotation_map = {  # noqa: RUF012, SQLAlchemy's declaration
        datetime: UtcDateTime,
        Priority: RankedPriority,
        Status: words(Status),
        Event: words(Event),
        Finding: words(Finding),
        Outcome: words(Outcome),
        DeliveryState: words(DeliveryState),
        ArtifactKind: words(ArtifactKind, 32),
        AuditAction: words(AuditAction, 48),
        list[str]: JSON,
        list[list[str]]: JSON,
        AnswerState: words(AnswerState),
        dict[str, Any]: JSON,
    }


class StudyRow(Base):
    """One study: its row on the worklist, and where it is on its way."""

    __tablename__ = "studies"
    __table_args__ = (
        CheckConstraint("priority BETWEEN 0 AND 2", name="ck_studies_priority"),
        CheckConstraint("priority >= priority_at_arrival", name="ck_studies_priority_kept"),
    )

    study_instance_uid: Mapped[str] = mapped_column(String(_UID), primary_key=True)
    accession_number: Mapped[str | None] = mapped_column(FittedText(64))
    patient_id: Mapped[str | None] = mapped_column(FittedText(64))
    patient_name: Mapped[str | None] = mapped_column(FittedText(324))  # PN: three groups of 64 and their delimiters
    modality: Mapped[str | None] = mapped_column(FittedText(16))
    status: Mapped[Status]
    status_reason: Mapped[str | None] = mapped_column(FittedText(1000))
    revision: Mapped[int]
    priority: Mapped[Priority]
    priority_at_arrival: Mapped[Priority]
    instances: Mapped[int]
    received_at: Mapped[datetime]
    # Assembly: of this revision.
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    next_check_at: Mapped[datetime | None]
    asked: Mapped[int]
    # Scoring: who holds the study, and how often it was claimed in this revision since its last image.
    lease_owner: Mapped[str | None] = mapped_column(FittedText(200))
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int]
    # The last decision or flag, copied here so that the list is one query.
    anatomy: Mapped[str | None] = mapped_column(FittedText(64))
    finding: Mapped[Finding | None]
    probability: Mapped[float | None] = mapped_column(Float(53))
    acr_category: Mapped[str | None] = mapped_column(FittedText(8))
    rule: Mapped[str | None] = mapped_column(FittedText(200))
    bundle: Mapped[str | None] = mapped_column(FittedText(200))
    reasons: Mapped[list[str]]
    flagged_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    # From here on null also in rows that are older than the column.
    conflict: Mapped[str | None] = mapped_column(FittedText(1000))  # which of its instances another study has
    merged: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # see `order_rules.merge_as_json`
    originals_deleted_at: Mapped[datetime | None]  # when the last of its files went; null while there may be any
    claimed_by: Mapped[str | None] = mapped_column(FittedText(200))  # who reads it
    claimed_at: Mapped[datetime | None]
    read_by: Mapped[str | None] = mapped_column(FittedText(200))  # ... and who has; a new revision is read again
    read_at: Mapped[datetime | None]
    name_key: Mapped[str | None] = mapped_column(FittedText(64))  # what a search looks for: see `reading.search_key`
    given_key: Mapped[str | None] = mapped_column(FittedText(64))  # ... and `reading.name_keys`
    second_key: Mapped[str | None] = mapped_column(FittedText(64))
    second_given_key: Mapped[str | None] = mapped_column(FittedText(64))
    third_key: Mapped[str | None] = mapped_column(FittedText(64))
    third_given_key: Mapped[str | None] = mapped_column(FittedText(64))
    patient_key: Mapped[str | None] = mapped_column(FittedText(64))
    accession_key: Mapped[str | None] = mapped_column(FittedText(64))
    patient_birth_date: Mapped[str | None] = mapped_column(FittedText(8))  # as its images say, and so is the age
    patient_age: Mapped[int | None] = mapped_column(SmallInteger)


class InstanceRow(Base):
    """One instance, durable in the spool, with its assessment once `outcome` is set."""

    __tablename__ = "instances"

    sop_instance_uid: Mapped[str] = mapped_column(String(_UID), primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("studies.study_instance_uid"))
    revision: Mapped[int]
    series_instance_uid: Mapped[str] = mapped_column(String(_UID))
    sop_class_uid: Mapped[str] = mapped_column(String(_UID))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(_UID))
    path: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(FittedText(64))
    received_at: Mapped[datetime]
    lease_owner: Mapped[str | None] = mapped_column(FittedText(200))
    lease_until: Mapped[datetime | None]
    attempts: Mapped[int]
    outcome: Mapped[Outcome | None]
    probability: Mapped[float | None] = mapped_column(Float(53))
    reason: Mapped[str | None] = mapped_column(FittedText(1000))
    anatomy: Mapped[str | None] = mapped_column(FittedText(64))
    bundle_digest: Mapped[str | None] = mapped_column(FittedText(128))
    assessed_at: Mapped[datetime | None]
    # From here on null also in rows that are older than the column.
    seen_anatomy: Mapped[str | None] = mapped_column(FittedText(64))
    anatomy_from_image: Mapped[bool | None] = mapped_column(Boolean)
    shadow_probability: Mapped[float | None] = mapped_column(Float(53))
    shadow_digest: Mapped[str | None] = mapped_column(FittedText(128))
    original_deleted_at: Mapped[datetime | None]  # its file is not in the spool any more


class DecisionRow(Base):
    """One decision a revision, kept for history."""

    __tablename__ = "decisions"
    __table_args__ = (UniqueConstraint("study_instance_uid", "revision", name="uq_decisions_revision"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("studies.study_instance_uid"))
    revision: Mapped[int]
    event: Mapped[Event]
    finding: Mapped[Finding]
    probability: Mapped[float | None] = mapped_column(Float(53))
    priority: Mapped[Priority]
    acr_category: Mapped[str | None] = mapped_column(FittedText(8))
    rule: Mapped[str] = mapped_column(FittedText(200))
    reasons: Mapped[list[str]]
    status_reason: Mapped[str] = mapped_column(FittedText(1000))
    anatomy: Mapped[str | None] = mapped_column(FittedText(64))
    model: Mapped[dict[str, Any]]
    decided_by: Mapped[str] = mapped_column(FittedText(200))
    decided_at: Mapped[datetime]
    shadow: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    known: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # see `Circumstances`
    # There were routes: what is not in the outbox had nothing to say. False also in older rows.
    routed: Mapped[bool] = mapped_column(Boolean, server_default=false())


class ArtifactRow(Base):
    """Bytes to send, kept so that a resend is the same bytes (promise 5)."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("study_instance_uid", "revision", "uid", name="uq_artifacts_uid"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("studies.study_instance_uid"))
    revision: Mapped[int]
    kind: Mapped[ArtifactKind]
    uid: Mapped[str] = mapped_column(FittedText(128))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    summary: Mapped[str] = mapped_column(FittedText(1000))
    created_at: Mapped[datetime]
    # From here on null also in rows that are older than the column.
    header: Mapped[bytes | None] = mapped_column(LargeBinary)  # see `Artifact.header`; it stays when the body goes
    withdrawn_at: Mapped[datetime | None]


class OutboxRow(Base):
    """One artifact to one destination; study and revision stand here too, for the sender's queries."""

    __tablename__ = "outbox"
    __table_args__ = (UniqueConstraint("artifact_id", "destination", name="uq_outbox_destination"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    artifact_id: Mapped[int] = mapped_column(ForeignKey("artifacts.id"))
    study_instance_uid: Mapped[str] = mapped_column(ForeignKey("studies.study_instance_uid"))
    revision: Mapped[int]
    destination: Mapped[str] = mapped_column(FittedText(200))
    of_decision: Mapped[bool] = mapped_column(Boolean)  # False: the flag's own, sent before the decision
    state: Mapped[DeliveryState]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(FittedText(200))
    lease_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))
    # Storage commitment, of rows that are sent: what the destination was asked last, and when to ask (again).
    transaction_uid: Mapped[str | None] = mapped_column(String(_UID))
    commit_at: Mapped[datetime | None]
    commit_asks: Mapped[int] = mapped_column(server_default="0")
    commit_resends: Mapped[int] = mapped_column(server_default="0")
    committed_at: Mapped[datetime | None]
    raises_to: Mapped[Priority | None]  # of what only asks for a raise; null also in older rows
    kind: Mapped[ArtifactKind | None]  # the artifact's; what waits for what is found without reading that (`chains`)
    # The study's, so that an index has what is sent next; a trigger raises the first with the study's.
    priority: Mapped[Priority | None]
    study_received_at: Mapped[datetime | None]


class CommitmentRequestRow(Base):
    """A peer's request for storage commitment, until it is answered and after."""

    __tablename__ = "commitment_requests"
    __table_args__ = (UniqueConstraint("peer", "transaction_uid", name="uq_commitment_requests_transaction"),)

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    peer: Mapped[str] = mapped_column(FittedText(200))
    transaction_uid: Mapped[str] = mapped_column(String(_UID))
    state: Mapped[AnswerState]
    objects: Mapped[list[list[str]]]  # [SOP Class UID, SOP Instance UID] of each; empty once there is nothing to answer
    instances: Mapped[int]  # how many were asked for
    failures: Mapped[int | None]  # how many of them the answer named as not kept
    requested_at: Mapped[datetime]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(FittedText(1000))


class AuditRow(Base):
    """One audit event; rows are only ever added, and a trigger sees to it."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(_SURROGATE, primary_key=True)
    at: Mapped[datetime]
    action: Mapped[AuditAction]
    actor: Mapped[str] = mapped_column(FittedText(200))
    study_instance_uid: Mapped[str | None] = mapped_column(FittedText(64))  # also of studies that are not here
    detail: Mapped[dict[str, Any]]


# What each index serves stands beside it; the migration spells the first two per database. SQLite takes a partial
# index only where it finds a term of the query in it, hence the status in those that are of one status.
Index(
    "ix_studies_list",  # items(): best first
    StudyRow.priority.desc(),
    StudyRow.probability.desc().nulls_last(),
    StudyRow.received_at,
    StudyRow.study_instance_uid,
)
Index(
    "ix_studies_status",  # items(status=...), counts()
    StudyRow.status,
    StudyRow.priority.desc(),
    StudyRow.probability.desc().nulls_last(),
    StudyRow.received_at,
    StudyRow.study_instance_uid,
)


def _partial(name: str, *columns: Any, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


_partial(
    "ix_studies_ready",  # claim_study()
    StudyRow.status,
    StudyRow.priority.desc(),
    StudyRow.received_at,
    StudyRow.study_instance_uid,
    where="status = 'ready'",
)
_partial("ix_studies_receiving", StudyRow.status, StudyRow.next_check_at, where="status = 'receiving'")  # due_...
_partial("ix_studies_scoring", StudyRow.status, StudyRow.lease_until, where="status = 'scoring'")  # expire_leases()
_partial("ix_studies_patient", StudyRow.patient_id, where="patient_id IS NOT NULL")  # merge_patient()
Index("ix_studies_received", StudyRow.received_at)  # scheduled()
_partial("ix_studies_accession", StudyRow.accession_number, where="accession_number IS NOT NULL")  # studies_called()
_partial(
    "ix_studies_originals",  # originals_past()
    StudyRow.status,
    StudyRow.last_received_at,
    StudyRow.study_instance_uid,
    where="originals_deleted_at IS NULL",
)
_partial(
    "ix_studies_unread",  # page()
    StudyRow.priority.desc(),
    StudyRow.probability.desc().nulls_last(),
    StudyRow.received_at,
    StudyRow.study_instance_uid,
    where="read_at IS NULL",
)
Index(
    "ix_studies_region",  # page(region=...), regions()
    StudyRow.anatomy,
    StudyRow.priority.desc(),
    StudyRow.probability.desc().nulls_last(),
    StudyRow.received_at,
    StudyRow.study_instance_uid,
)
_partial("ix_studies_name_key", StudyRow.name_key, where="name_key IS NOT NULL")  # page(text=...), these eight
_partial("ix_studies_given_key", StudyRow.given_key, where="given_key IS NOT NULL")
_partial("ix_studies_second_key", StudyRow.second_key, where="second_key IS NOT NULL")
_partial("ix_studies_second_given_key", StudyRow.second_given_key, where="second_given_key IS NOT NULL")
_partial("ix_studies_third_key", StudyRow.third_key, where="third_key IS NOT NULL")
_partial("ix_studies_third_given_key", StudyRow.third_given_key, where="third_given_key IS NOT NULL")
_partial("ix_studies_patient_key", StudyRow.patient_key, where="patient_key IS NOT NULL")
_partial("ix_studies_accession_key", StudyRow.accession_key, where="accession_key IS NOT NULL")
_partial("ix_instances_unassessed", InstanceRow.study_instance_uid, where="outcome IS NULL")  # claim_images()
_partial("ix_instances_lease_owner", InstanceRow.lease_owner, where="lease_owner IS NOT NULL")  # give_back()
Index("ix_decisions_decided", DecisionRow.decided_at)  # decided_since()
_partial("ix_decisions_shadow", DecisionRow.decided_at, where="shadow IS NOT NULL")  # comparisons()
Index("ix_instances_study", InstanceRow.study_instance_uid, InstanceRow.received_at)  # study(), claim_study()
Index(
    "ix_outbox_due", OutboxRow.state, OutboxRow.destination, OutboxRow.next_attempt_at
)  # claim_deliveries(), counts()
_partial(
    "ix_outbox_queue",  # claim_deliveries(), best first
    OutboxRow.state,
    OutboxRow.destination,
    OutboxRow.priority.desc(),
    OutboxRow.study_received_at,
    OutboxRow.id,
    OutboxRow.next_attempt_at,
    where="state = 'pending'",
)
Index("ix_outbox_study", OutboxRow.study_instance_uid, OutboxRow.id)  # order a destination, study(), delivered?
_partial("ix_outbox_commit", OutboxRow.destination, OutboxRow.commit_at, where="commit_at IS NOT NULL")  # claim_...
_partial("ix_outbox_commit_at", OutboxRow.commit_at, where="commit_at IS NOT NULL")  # bring_deadlines_near()
_partial("ix_outbox_transaction", OutboxRow.transaction_uid, where="transaction_uid IS NOT NULL")  # ..._reported()
_partial("ix_outbox_sent", OutboxRow.destination, OutboxRow.sent_at, where="sent_at IS NOT NULL")  # look_at_route()
Index("ix_artifacts_uid", ArtifactRow.uid)  # commitment_reported()
_partial("ix_commitment_requests_due", CommitmentRequestRow.next_attempt_at, where="state = 'waiting'")  # claim_...
_partial("ix_commitment_requests_ended", CommitmentRequestRow.requested_at, where="next_attempt_at IS NULL")  # keep...
Index("ix_audit_events_study", AuditRow.study_instance_uid, AuditRow.id)  # study()
Index("ix_audit_events_at", AuditRow.at)  # AuditTrail: all, or of a period, by their times
Index("ix_audit_events_action", AuditRow.action, AuditRow.at)  # of some actions
Index("ix_audit_events_actor", AuditRow.actor, AuditRow.action, AuditRow.at)  # of somebody, action by action
