"""What stages ask of the outside: each port has an adapter, and the worklist an in-memory twin.

Times are aware UTC datetimes and always passed in. A worklist method that reads as an order is one transaction.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.backlog import Backlogs
from triage_agent.domain.commitment import Commitments
from triage_agent.domain.decision import (
    Artifact,
    Comparison,
    Decision,
    Delivery,
    DeliveryRecord,
    Flag,
    ModelIdentity,
    ShadowResult,
    Shipment,
)
from triage_agent.domain.history import Histories
from triage_agent.domain.orders import Orders
from triage_agent.domain.retrieval import RetrievalRecord, Retrievals
from triage_agent.domain.spools import Spools
from triage_agent.domain.study import (
    AssemblyView,
    Assessment,
    ClaimedImage,
    ClaimedStudy,
    CompletenessRule,
    ImageScore,
    ReceivedInstance,
    StoredInstance,
    WorklistItem,
)
from triage_agent.domain.vocabulary import DICOM_OBJECTS, ArtifactKind, Priority, Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.domain.withdrawal import Withdrawals


class Clock(Protocol):
    """The one source of the present."""

    def __call__(self) -> datetime:
        """Now, aware, in UTC."""


class Registered(StrEnum):
    """What registering a received instance found."""

    NEW = "new"
    DUPLICATE = "duplicate"  # the same instance, the same bytes: nothing done twice
    CONFLICT = "conflict"  # the same SOP Instance UID, other bytes: the first copy stays


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDetail:
    """Everything about one study, for `study` and the study page.

    Attributes:
        shadow: of its last decision.
        retrieval: the last time that it was fetched from a PACS.
    """

    item: WorklistItem
    reasons: tuple[str, ...]
    instances: tuple[StoredInstance, ...]
    deliveries: tuple[DeliveryRecord, ...]
    audit: tuple[AuditEvent, ...]
    shadow: ShadowResult | None = None
    retrieval: RetrievalRecord | None = None


class Worklist(Commitments, Retrievals, Spools, Backlogs, Withdrawals, Orders, Histories, Protocol):
    """The queue of studies and the outbox of results; what it inherits are parts of it.

    Every method raises `WorklistUnavailableError` when the database is away.
    """

    # --- intake ---------------------------------------------------------------------------------------------------
    def register(self, received: ReceivedInstance, rule: CompletenessRule) -> Registered:
        """Put an instance and its study on the worklist; returns after commit.

        A new radiograph (by its SOP class) applies IMAGE_RECEIVED (a concluded study opens its next revision) and sets
        the next completeness check by `rule`. Any other object applies OBJECT_RECEIVED: it is counted and kept, and
        neither reopens a study nor delays its completion. Both raise the priority to the header's and write an audit
        event. A CONFLICT or DUPLICATE only writes its audit event; a CONFLICT with another study's instance also
        applies CONFLICTED to the study it came for, which gets its row and the reason by it, and the header's priority.
        """

    def digest_of(self, sop_instance_uid: str) -> str | None:
        """SHA-256 of the registered instance, None when it is not registered."""

    def spool_paths(self) -> Iterator[str]:
        """Where each instance lies in the spool that was not deleted, in the order of characters; read one by one.

        What is registered after the first was asked for may be left out.
        """

    def record_audit(self, event: AuditEvent) -> None:
        """Append an event that no state change carries."""

    # --- assembly -------------------------------------------------------------------------------------------------
    def due_for_completion(self, now: datetime, limit: int = 100) -> Sequence[AssemblyView]:
        """Receiving studies to look at, earliest check first: it is due, or their last image came after `now`."""

    def check_later(
        self,
        study_instance_uid: str,
        revision: int,
        at: datetime,
        *,
        asked: bool,
        reason: str | None = None,
        fetching: bool = False,
    ) -> bool:
        """Set the next completeness check; False if the study has moved on.

        `asked` counts a question to the PACS; `reason` says on the worklist what is waited for, where it is given.
        With `fetching` that is the end of a retrieval: False, too, where it has ended since, which set the next check.
        """

    def complete(self, view: AssemblyView, reason: str, now: datetime) -> bool:
        """RECEIVING to READY; False if an image came since `view` was read, or the study has moved on."""

    # --- scoring --------------------------------------------------------------------------------------------------
    def claim_images(self, owner: str, now: datetime, lease: timedelta, limit: int) -> Sequence[ClaimedImage]:
        """Lease unassessed instances of receiving studies: highest priority first, then oldest.

        A lease that has expired can be claimed again; an instance that was claimed `MAX_ATTEMPTS` times without a
        result is left for the study's decision.
        """

    def record_assessment(self, claimed: ClaimedImage, assessment: Assessment, now: datetime) -> bool:
        """Keep an instance's assessment; False if it had one already (the first stays)."""

    def raise_flag(
        self, flag: Flag, shipments: Sequence[Shipment], now: datetime, assessment: Assessment | None = None
    ) -> bool:
        """Raise the priority at once; False, and nothing sent, if the study had that priority or a higher one.

        `assessment`, of the flag's image, is kept in the same transaction, whether or not the priority rises (an
        earlier one stays): an assessed image is not claimed again, so that its flag would else be lost in between.
        """

    def claim_study(self, owner: str, now: datetime, lease: timedelta) -> ClaimedStudy | None:
        """READY to SCORING for the most urgent, then oldest study; None when there is none.

        One of whose images somebody holds (`claim_images`) waits until it was scored, or its lease has run out.
        """

    def last_artifact(self, study_instance_uid: str, kind: ArtifactKind, before_revision: int) -> Artifact | None:
        """What was last put into the outbox as `kind` by an earlier revision and is not withdrawn; None: nothing was.

        Where its bytes were let go there is its header; what has neither counts as nothing.
        """

    def decide(
        self,
        decision: Decision,
        assessments: Sequence[Assessment],
        shipments: Sequence[Shipment],
        owner: str,
        *,
        routed: bool = False,
    ) -> bool:
        """Store a decision with its assessments, audit events and outbox rows in one transaction.

        False, and nothing written, unless `owner` still holds the study in SCORING at that revision. The priority
        becomes the higher of the study's and the decision's; what asks its receiver for less is not queued.

        With `routed` the site has routes: where none of them has anything to say of it, it is delivered at once, or
        with its flag. Without, it stays decided.
        """

    def add_results(self, study_instance_uid: str, revision: int, shipments: Sequence[Shipment], now: datetime) -> bool:
        """Queue what was made of a decided revision afterwards, behind what the decision sent.

        False, and nothing queued, where the study has moved on, or its results have been withdrawn.
        """

    def record_shadow(
        self,
        study_instance_uid: str,
        revision: int,
        result: ShadowResult,
        assessments: Sequence[Assessment],
        now: datetime,
    ) -> bool:
        """Keep what the shadow bundle says of a decided revision and of its images, with an audit event.

        Of `assessments` only the shadow's part is written, to images that are scored as they say. False, and nothing
        written, where that revision was not decided, has no probability, or has its comparison already.
        """

    def comparisons(self, since: datetime) -> Sequence[Comparison]:
        """Decisions since then that a shadow bundle has scored too, oldest first; a study's last one only."""

    def give_back(self, owner: str, now: datetime, *, counted: bool = True) -> int:
        """Release everything that `owner` holds (studies to READY, images and deliveries free); returns how many.

        `counted=False` takes the attempts at studies and images back: nothing was wrong with them, their worker was
        told to stop, or could not work at all. Attempts to send stay counted, since something may have been sent.
        """

    def renew_leases(self, owner: str, now: datetime, lease: timedelta) -> int:
        """Extend every lease that `owner` holds to `now + lease`; returns how many.

        A process that lives renews several times a lease, so that leases can be short and a dead one's work moves on.
        """

    def expire_leases(self, now: datetime) -> int:
        """GIVEN_BACK for studies whose lease has run out; returns how many."""

    def bring_deadlines_near(self, now: datetime, longest: LongestWaits) -> int:
        """Shorten deadlines that lie farther ahead than any could have been set; returns how many there were.

        They were set before the clock was set back: leases then end at `now + longest.lease`, unless their owners live
        and renew them. What waits to be sent for too long is due, and so is whatever was never tried. A peer that is
        to be told or asked about commitment, and a study to be fetched, wait for as long as they could from now on.
        """

    # --- delivery -------------------------------------------------------------------------------------------------
    def claim_deliveries(
        self, owner: str, now: datetime, lease: timedelta, limit: int, destinations: Sequence[str] | None = None
    ) -> Sequence[Delivery]:
        """Lease due outbox rows, most urgent study first, then oldest; counts the attempt before it is made."""

    def delivery_sent(self, delivery: Delivery, now: datetime, *, commit: bool = False) -> None:
        """Mark sent; DELIVERED when nothing of the revision's is left, but what is superseded (see `retry_study`).

        With `commit` its destination is asked to commit to it, from now on (see `claim_commitments`).
        """

    def delivery_failed(
        self, delivery: Delivery, error: str, retry_at: datetime | None, now: datetime, *, tried: bool = True
    ) -> None:
        """Keep the error; try again at `retry_at`, or never (DEAD) when it is None. `tried`: the destination was asked.

        A row's first failure and its death are audited. What lies between is in the row: a peer that is down for a day
        would fill the trail.
        """

    def make_due(self, destination: str, now: datetime) -> int:
        """What waits there for another attempt is due now: the destination has come back; returns how many.

        What was tried while it was away, the most urgent first, would else be sent after everything that was not.
        """

    def trouble_at(self, destination: str) -> str | None:
        """The latest error of what still waits to be sent there; None when all of it is untried.

        A destination that is away is tried with one delivery at a time: this is why the others wait.
        """

    def bury_unrouted(self, destinations: Collection[str], now: datetime) -> int:
        """DEAD, with the reason, for what waits to be sent to any other destination; returns how many.

        Nobody claims rows of a destination that no route names: without this they would wait unseen. What somebody is
        sending at this moment is marked too, and sent is a fact all the same.
        """

    # --- retention ------------------------------------------------------------------------------------------------
    def originals_past(self, before: datetime, limit: int) -> Sequence[str]:
        """Studies that are done with, whose last image came before then and of which files may be left: oldest first.

        Done with: DELIVERED or OUT_OF_SCOPE, and whatever is in their outbox is sent or superseded.
        """

    def forget_originals(self, study_instance_uid: str, before: datetime, now: datetime) -> Sequence[str]:
        """Mark a study's originals as deleted; returns the paths of all, which are the caller's to delete after this.

        Empty, and nothing written, when it is not one of `originals_past` any more. What was sent of it keeps its UIDs
        and loses its bytes.
        """

    def originals_gone(self, study_instance_uid: str, now: datetime) -> None:
        """The files are deleted; `originals_past` names the study again only when another instance has come."""

    # --- people ---------------------------------------------------------------------------------------------------
    def items(
        self, *, status: Status | None = None, priority: Priority | None = None, limit: int = 100
    ) -> Sequence[WorklistItem]:
        """The worklist, best first: by priority, then probability (none last), then age."""

    def study(self, study_instance_uid: str) -> StudyDetail | None:
        """Everything about one study; None when it is not on the worklist."""

    def studies_called(self, name: str) -> Sequence[str]:
        """UIDs of the studies that a person means by a Study Instance UID or an accession number, in their order.

        A UID means one study at most; several may share an accession number.
        """

    def results_of(
        self, study_instance_uid: str, limit: int, kinds: Collection[ArtifactKind] = DICOM_OBJECTS
    ) -> Sequence[Artifact]:
        """The DICOM objects that were made of a study and whose bytes are there, newest first; each once.

        What was withdrawn is not among them, and the notes that say so are.
        """

    def retry_study(self, study_instance_uid: str, actor: str, now: datetime) -> int:
        """Put its dead deliveries back to pending, and the study back to READY if it needs a human or is out of scope.

        A dead delivery stays dead while a later result of its kind to its destination is sent or waits to be: it is
        superseded, and its error says so. Returns how many things were put back; clears failed assessments so that
        they are tried again. A study of which no original is left stays as it is: nothing could be scored.
        """

    def retry_failed(self, actor: str, now: datetime) -> int:
        """`retry_study` for every study with a dead delivery or that needs a human."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers for health and metrics: {"status": {...}, "priority": {...}, "outbox": {...}}."""

    def ping(self) -> None:
        """Raise `WorklistUnavailableError` unless the database answers and its migrations are current."""


class ImageScorer(Protocol):
    """Turns display images into calibrated probabilities."""

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""

    def score(
        self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()
    ) -> Sequence[ImageScore]:
        """What the model says of each image (height x width, values in [0, 1], bone bright).

        `anatomies` are the regions that the headers state, None where they state none; empty where nobody knows any.
        """


class StudyCounter(Protocol):
    """Somebody who knows how many images a study has."""

    def count_instances(self, study_instance_uid: str) -> int | None:
        """Number of Study Related Instances (0020,1208); None when it could not be learnt."""


class Transport(Protocol):
    """A way to a destination."""

    kinds: frozenset[ArtifactKind]

    def send(self, artifact: Artifact) -> None:
        """Hand the artifact over and return when the other side has acknowledged it.

        Raises:
            DeliveryError: it was not taken; `permanent` says whether a retry can help.
        """

    def check(self) -> str:
        """Reach the other side without sending anything; returns what it said.

        Raises:
            DeliveryError: it cannot be reached.
        """

    def close(self) -> None:
        """End connections that are kept open."""
