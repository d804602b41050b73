"""Scores' consequence: decisions, flags, and the artifacts that carry them."""

from dataclasses import dataclass
from datetime import datetime

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Event, Finding, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which bundle scored, as outputs must say (promise 6).

    Attributes:
        digest: SHA-256 over the bundle, hex; changes whenever anything in the bundle does.
        anatomies: the regions the bundle was validated on.
        threshold: study probability at or above which the finding is abnormal.
        alert: instance probability at or above which the priority is raised at once.
        clinical_use: False for bundles that must not be used on patients; outputs say so.
    """

    name: str
    version: str
    digest: str
    anatomies: tuple[str, ...]
    threshold: float
    alert: float
    clinical_use: bool
    notice: str = ""

    @property
    def label(self) -> str:
        """Name, version and short digest, for people."""
        return f"{self.name} {self.version} ({self.digest[:12]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One study revision's result.

    Attributes:
        event: DECIDED, EXCLUDED (out of scope) or FAILED (needs a human); what the status follows.
        probability: mean of the scored instances' probabilities, None where not assessed.
        priority: proposed priority; the worklist keeps the higher of it and what the study has.
        acr_category: "1", "2", "3" (act within minutes, hours, days) or None.
        rule: name of the policy rule that fired.
        reasons: sentences for people.
        status_reason: one sentence for the worklist, empty when decided without remark.
    """

    study_instance_uid: str
    revision: int
    event: Event
    finding: Finding
    probability: float | None
    priority: Priority
    acr_category: str | None
    rule: str
    reasons: tuple[str, ...]
    status_reason: str
    anatomy: str | None
    model: ModelIdentity
    decided_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A raise that does not wait for the study to be complete (promise 7)."""

    study_instance_uid: str
    revision: int
    sop_instance_uid: str
    probability: float
    priority: Priority
    acr_category: str | None
    rule: str
    reasons: tuple[str, ...]
    anatomy: str | None
    model: ModelIdentity
    raised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Bytes to send: a Part 10 file for DICOM kinds, a message for HL7.

    Attributes:
        uid: derived from (study, revision, bundle, kind), so that a resend is the same object (promise 5).
        summary: what it says, in words for people, without patient identifiers.
    """

    kind: ArtifactKind
    uid: str
    body: bytes
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """One artifact to one destination: what the outbox keeps a row of."""

    artifact: Artifact
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A site's line "send these kinds to this destination" (a peer's name)."""

    to: str
    send: tuple[ArtifactKind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An outbox row that a sender holds; `attempt` counts from 1."""

    delivery_id: int
    study_instance_uid: str
    revision: int
    destination: str
    attempt: int
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRecord:
    """An outbox row as people see it."""

    delivery_id: int
    study_instance_uid: str
    revision: int
    kind: ArtifactKind
    destination: str
    uid: str
    summary: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    last_error: str | None
