"""Instances and studies as the agent knows them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from triage_agent.domain.circumstances import NOTHING_KNOWN, Circumstances
from triage_agent.domain.orders import MergedPatient
from triage_agent.domain.retrieval import RetrievalRecord
from triage_agent.domain.sop_classes import RADIOGRAPHS
from triage_agent.domain.vocabulary import Event, Outcome, Priority, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHeader:
    """What intake reads from a data set before its pixels; every text is decoded and may be empty.

    UIDs have been checked with `uids.is_uid`. `requested_priority` is the order's, where the data set says it.
    `patient_birth_date` is YYYYMMDD; `patient_age` in completed years, None where the data set does not state it.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    requested_priority: Priority = Priority.ROUTINE
    patient_birth_date: str = ""
    patient_age: int | None = None

    @property
    def event(self) -> Event:
        """What the arrival of the instance is to its study."""
        return Event.IMAGE_RECEIVED if self.sop_class_uid in RADIOGRAPHS else Event.OBJECT_RECEIVED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedInstance:
    """An instance that is durable in the spool.

    Attributes:
        path: where its DICOM file is, relative to the spool.
        sha256: hex digest of the encoded data set as it came (the file meta information, which we write, left out).
        size: length of that data set in bytes.
        source: calling AE title of the sender.
    """

    header: InstanceHeader
    path: str
    sha256: str
    size: int
    source: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScore:
    """What a model says of one image.

    Attributes:
        probability: calibrated probability of abnormality in [0, 1].
        seen_anatomy: the region that the image looks like (`XR_KNEE`, ...); None where the model cannot tell.
        strangeness: how unlike the training images it is, as a share of the limit that holds: above 1 the probability
            means nothing. 0 where there is no limit.
    """

    probability: float
    seen_anatomy: str | None = None
    strangeness: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What scoring one instance gave.

    Attributes:
        probability: calibrated probability of abnormality in [0, 1]; None unless scored. That of an image which is too
            unlike the training images (failed, with a reason) is kept: it never counts, and may raise.
        reason: why it was not scored; empty when it was.
        anatomy: the region it shows (`XR_KNEE`, ...), None where nothing says so.
        seen_anatomy: the region that the image looks like to the model; None where it cannot tell or was not asked.
        anatomy_from_image: the header states no region, and `anatomy` is what the image looks like.
        bundle_digest: the bundle that made the probability; empty where no model was asked.
        shadow_probability: what the shadow bundle says; None where there is none, or it failed.
        shadow_digest: that bundle; empty where there is none.
    """

    sop_instance_uid: str
    outcome: Outcome
    probability: float | None = None
    reason: str = ""
    anatomy: str | None = None
    seen_anatomy: str | None = None
    anatomy_from_image: bool = False
    bundle_digest: str = ""
    shadow_probability: float | None = None
    shadow_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """One instance on the worklist, with its assessment once there is one.

    Attributes:
        original_deleted_at: when its file was deleted, as the site's retention wants it; None while it is in the spool.
    """

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    received_at: datetime
    assessment: Assessment | None = None
    original_deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedImage:
    """An instance that a worker holds, to score it before its study is complete."""

    study_instance_uid: str
    revision: int
    priority: Priority
    instance: StoredInstance
    known: Circumstances = NOTHING_KNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedStudy:
    """A complete study that a worker holds, to decide it.

    Attributes:
        attempt: counts from 1 since its last image or revision.
        shortfall: what the PACS has of it and did not send, in words; empty where nothing is known to lack.
        lost: why an instance that was sent cannot be looked at (another study has it); None where all can be.
        merged: whom its results are about, where its patient has been merged since.
        known: of it besides its images.
        told: the destinations that results of it, also of an earlier revision, have been queued for.
    """

    study_instance_uid: str
    revision: int
    priority: Priority
    attempt: int
    instances: tuple[StoredInstance, ...]
    shortfall: str = ""
    lost: str | None = None
    merged: MergedPatient | None = None
    known: Circumstances = NOTHING_KNOWN
    told: frozenset[str] = frozenset()


def with_originals(
    study: ClaimedStudy, assessments: Sequence[Assessment]
) -> tuple[ClaimedStudy, tuple[Assessment, ...]]:
    """Of a study and its assessments, in its instances' order, what can be looked at: whose original is there."""
    here = [
        (one, known) for one, known in zip(study.instances, assessments, strict=True) if not one.original_deleted_at
    ]
    return replace(study, instances=tuple(one for one, _ in here)), tuple(known for _, known in here)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessRule:
    """When to think that all images of a study have come.

    Attributes:
        quiet: complete when no image came for so long.
        max_wait: complete at the latest so long after the revision's first image.
        ask_after: ask the PACS for the number of images so long after an image; None when nobody is asked.
        steady: believe the PACS's count when it is still the same so long after that, and no image came between. A PACS
            that forwards each view as it is shot never counts more than it has sent.
        fetch: what the PACS has more of is fetched once the quiet period is over, and waited for.
    """

    quiet: timedelta
    max_wait: timedelta
    ask_after: timedelta | None = None
    steady: timedelta = timedelta(seconds=20)
    fetch: bool = False

    def next_check(self, first_received_at: datetime, last_received_at: datetime) -> datetime:
        """When to look at a study whose last image has just come."""
        wait = self.quiet if self.ask_after is None else min(self.quiet, self.ask_after)
        return min(last_received_at + wait, first_received_at + self.max_wait)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyView:
    """What the completeness rule needs to know of a study that is still receiving."""

    study_instance_uid: str
    revision: int
    instances: int
    first_received_at: datetime
    last_received_at: datetime
    asked: int = 0  # how often the PACS was asked in this revision
    retrieval: RetrievalRecord | None = None  # the last one, also of an earlier revision


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistItem:
    """One row of the reprioritised worklist, as INTERFACE's `worklist --json` has it."""

    study_instance_uid: str
    accession_number: str | None
    patient_id: str | None
    patient_name: str | None
    anatomy: str | None
    modality: str | None
    status: Status
    status_reason: str | None
    revision: int
    priority: Priority
    priority_at_arrival: Priority
    finding: str | None
    probability: float | None
    acr_category: str | None
    rule: str | None
    bundle: str | None
    instances: int
    received_at: datetime
    flagged_at: datetime | None
    decided_at: datetime | None
    delivered_at: datetime | None
