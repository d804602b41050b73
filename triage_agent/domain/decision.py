"""Scores' consequence: decisions, flags, and the artifacts that carry them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from triage_agent.domain.circumstances import NOTHING_KNOWN, Circumstances
from triage_agent.domain.hl7_form import USUAL_FORM, Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Event, Family, Finding, Priority, Unscored

InForm = tuple[ArtifactKind, Hl7Form]
"""A kind of artifact in a form of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyBand:
    """Probabilities that do not settle the finding at the error rate that the site allows.

    Attributes:
        abnormal_from: below it, abnormal is ruled out.
        normal_to: above it, normal is ruled out.
    """

    abnormal_from: float
    normal_to: float

    def holds(self, probability: float) -> bool:
        """Whether both findings are possible; where neither is, the model is surer than it has to be."""
        return self.abnormal_from <= probability <= self.normal_to


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which bundle scored, as outputs must say (promise 6).

    Attributes:
        digest: SHA-256 over the bundle, hex; changes whenever anything in the bundle does.
        anatomies: the regions the bundle covers: it was trained on them, or has questions about them.
        threshold: study probability at or above which the finding is abnormal.
        alert: instance probability at or above which the priority is raised at once.
        clinical_use: False for bundles that must not be used on patients; outputs say so.
        error_rate: the share of wrong findings that the site allows in each class; None where nobody asks.
        bands: what that leaves uncertain, by region; the one under "" is for every other region, and unknown ones.
    """

    name: str
    version: str
    digest: str
    anatomies: tuple[str, ...]
    threshold: float
    alert: float
    clinical_use: bool
    notice: str = ""
    error_rate: float | None = None
    bands: Mapping[str, UncertaintyBand] = field(default_factory=dict, hash=False)

    def band(self, anatomy: str | None) -> UncertaintyBand | None:
        """The uncertain probabilities of a region; None where the threshold alone decides."""
        return self.bands.get(anatomy or "", self.bands.get(""))

    @property
    def label(self) -> str:
        """Name, version and short digest, for people."""
        return f"{self.name} {self.version} ({self.digest[:12]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowResult:
    """What a second bundle says of a study, kept for comparison; nothing follows from it.

    Attributes:
        bundle: its name, version and short digest.
        digest: its digest.
        probability: mean over the images that both bundles scored.
        finding: abnormal or normal, at its own threshold.
        agrees: whether the deciding bundle's mean lies on the same side of that bundle's threshold.
    """

    bundle: str
    digest: str
    probability: float
    finding: Finding
    agrees: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A decision beside what the shadow bundle says of the same study.

    Attributes:
        anatomy: the region that the decision names.
        bundle: name, version and short digest of the bundle that decided.
        probability: the decision's.
    """

    study_instance_uid: str
    revision: int
    anatomy: str | None
    decided_at: datetime
    bundle: str
    probability: float
    shadow: ShadowResult


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
        why: what the rule asks for, in words; empty where no rule of the policy fired.
        routes: the destinations that the rule names; empty for all. Who was told of the study before is told again.
        known: of the study besides its images, when it was decided.
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
    why: str = ""
    routes: tuple[str, ...] = ()
    known: Circumstances = NOTHING_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A raise that does not wait for the study to be complete (promise 7); see `Decision`."""

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
    why: str = ""
    routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Bytes to send: a Part 10 file for DICOM kinds, a message for HL7.

    Attributes:
        uid: derived from (study, revision, bundle, kind), so that a resend is the same object (promise 5); a message in
            a form of a destination's own has the form in it, too.
        summary: what it says, in words for people, without patient identifiers.
        header: of a DICOM object, what it takes to name it when its bytes have been let go: a Part 10 file, too, of its
            patient, study, series and identity. Empty where nobody kept it.
    """

    kind: ArtifactKind
    uid: str
    body: bytes
    summary: str
    header: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """One artifact to one destination: what the outbox keeps a row of.

    Attributes:
        raises_to: what it asks its receiver to raise the study to; it is not queued where the study is above that.
    """

    artifact: Artifact
    destination: str
    raises_to: Priority | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A site's line "send these kinds to this destination" (a peer's name), in the form that it wants HL7 in.

    Attributes:
        unscored: of which studies that nobody could score it tells, by the kinds that can.
    """

    to: str
    send: tuple[ArtifactKind, ...]
    form: Hl7Form = USUAL_FORM
    unscored: Unscored = Unscored.NONE

    def form_of(self, kind: ArtifactKind) -> Hl7Form:
        """The form that a kind goes there in; only HL7 messages have more than one."""
        return self.form if kind.family is Family.HL7_MESSAGE else USUAL_FORM


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An outbox row that a sender holds; `attempt` counts from 1.

    `is_outdone`: it asks for a raise to less than the study has by now, and must not be sent (promise 3).
    `queued_at` is when it was put into the outbox; None where nobody knows.
    """

    delivery_id: int
    study_instance_uid: str
    revision: int
    destination: str
    attempt: int
    artifact: Artifact
    is_outdone: bool = False
    queued_at: datetime | None = None


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
    committed_at: datetime | None = None
