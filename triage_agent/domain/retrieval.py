"""Fetching studies from a PACS: what is asked for, what it has, what came of it; and the ports for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from triage_agent.domain.errors import TriageError

LONGEST_UNANSWERED = timedelta(seconds=60)
"""How long a study waits for a PACS that does not even say which images it has."""


class RetrievalError(TriageError):
    """The PACS did not send what it was asked for.

    Attributes:
        permanent: True when asking again cannot help before somebody changes a configuration.
    """

    def __init__(self, message: str, *, permanent: bool, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.permanent = permanent


class RetrievalState(StrEnum):
    """Where fetching one study is."""

    WAITING = "waiting"  # somebody fetches it, or will
    DONE = "done"  # all that the PACS has is here
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """A study that is to be fetched, held by whoever fetches it.

    Attributes:
        peer: the name of the PACS.
        requested_by: who asked: the agent, or the command of a person.
        attempt: counts from 1; kept before it is made, so that a crash in the middle of it counts.
        everything: every object of the study is wanted, not only what can be a radiograph.
    """

    study_instance_uid: str
    peer: str
    requested_by: str
    owner: str
    attempt: int
    everything: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalRecord:
    """What is known of fetching one study, for the completeness rule and for people.

    Attributes:
        revision: the study's, when the agent asked by itself; 0 where a person did.
        expected: how many instances the study has with those that the PACS has more of; None until it said so.
        missing: SOP Instance UIDs that did not come yet; empty where the PACS names none.
    """

    study_instance_uid: str
    peer: str
    state: RetrievalState
    requested_by: str
    requested_at: datetime
    revision: int
    attempts: int
    expected: int | None
    missing: tuple[str, ...]
    last_error: str | None

    def lacking(self, here: Collection[str]) -> int:
        """How many of the PACS's images are not among the study's instances `here`."""
        if self.missing:
            return len(set(self.missing) - set(here))
        return 0 if self.expected is None else max(0, self.expected - len(here))

    def shortfall(self, here: Collection[str]) -> str:
        """What a decision says of a study that stays incomplete; empty where nothing is lacking."""
        lacking = self.lacking(here)
        if self.expected is None or not lacking:
            return ""
        return f"{self.expected - lacking} of {self.expected} images; {self.peer} did not send {lacking}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the agent has of a study: its instances, and the results that it made of it itself (UIDs)."""

    instances: frozenset[str] = frozenset()
    own_results: frozenset[str] = frozenset()


class Retrievals(Protocol):
    """The part of the worklist that remembers what is fetched; each method is one transaction."""

    def want_retrieval(
        self, study_instance_uid: str, peer: str, now: datetime, *, requested_by: str, revision: int = 0
    ) -> bool:
        """Note that a study is to be fetched; False where that is not needed any more.

        With `revision` the agent asks by itself: once a revision, only while that is RECEIVING, and never in the place
        of a retrieval that is open. Without it a person asks; an open retrieval begins anew then, unless somebody is at
        it: that goes on and counts.
        """

    def claim_retrieval(
        self, owner: str, now: datetime, lease: timedelta, study_instance_uid: str | None = None
    ) -> Retrieval | None:
        """Lease the retrieval that is due the longest, or that of one study whether or not it is due.

        None when there is none, or somebody holds it. The attempt is counted before it is made.
        """

    def retrieval_learnt(self, retrieval: Retrieval, expected: int, missing: Sequence[str]) -> bool:
        """Keep what the PACS has; False where somebody else holds the retrieval now."""

    def retrieval_ended(
        self, retrieval: Retrieval, now: datetime, *, error: str | None, retry_at: datetime | None
    ) -> bool:
        """DONE without an error; else tried again at `retry_at`, or GIVEN_UP when that is None; audited.

        A study that is RECEIVING is looked at once more as soon as nothing is fetched for it any more. False, and
        nothing written, where somebody else holds the retrieval now.
        """

    def retrieval_of(self, study_instance_uid: str) -> RetrievalRecord | None:
        """The last retrieval of a study."""

    def held_of(self, study_instance_uid: str) -> Held:
        """What is here of a study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteStudy:
    """A study at the PACS; `instances` is Number of Study Related Instances (0020,1208), None where it does not say."""

    study_instance_uid: str
    accession_number: str
    instances: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteInstance:
    """An instance at the PACS; `sop_class_uid` is empty where it does not say."""

    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One C-MOVE or C-GET: a study, or one series of it, or some instances of one series (PS3.4 C.4.2.2.1)."""

    study_instance_uid: str
    series_instance_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubOperations:
    """How the C-STOREs of one or more requests ended, as the PACS counts them (PS3.7 9.1.4.1)."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0

    def __add__(self, other: "SubOperations") -> "SubOperations":
        """Both together."""
        return SubOperations(
            remaining=self.remaining + other.remaining,
            completed=self.completed + other.completed,
            failed=self.failed + other.failed,
            warning=self.warning + other.warning,
        )


class Archive(Protocol):
    """A PACS that can be asked what it has, and to send it."""

    def study(self, study_instance_uid: str) -> RemoteStudy | None:
        """C-FIND at study level; None when it has no such study.

        Raises:
            RetrievalError: it did not answer, or not with success.
        """

    def instances(self, study_instance_uid: str) -> Sequence[RemoteInstance]:
        """C-FIND at series and image level; empty where it takes no such question.

        Raises:
            RetrievalError: it did not answer.
        """

    def retrieve(self, wanted: Sequence[Wanted], sop_classes: Collection[str]) -> "Sent":
        """C-MOVE to us or C-GET, one request after another; returns when the last one has ended, in whatever way.

        Args:
            wanted: what to ask for.
            sop_classes: of what is wanted, as far as they are known.

        Raises:
            RetrievalError: there is no association.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of asking for images: the PACS's counts, and its complaint where a request did not end well."""

    operations: SubOperations
    error: RetrievalError | None = None
