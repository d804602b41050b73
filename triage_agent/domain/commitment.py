"""Storage commitment (PS3.4 annex J): who asks for it, what is promised, and what the worklist keeps of it.

Both ways. A peer asks us whether we keep what it sent, and is answered later; we ask a destination whether it keeps
what we sent, and are told later. What is between question and answer is in the database, so that a restart forgets
neither.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple, Protocol

from triage_agent.domain.decision import Artifact


class Reference(NamedTuple):
    """An object as the Referenced SOP Sequence (0008,1199) names it."""

    sop_class_uid: str
    sop_instance_uid: str


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of one object (PS3.3 section C.14.1.1)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


def reason_in_words(reason: int) -> str:
    """`0x0112 (no such object instance)`; the number alone where the standard has no such reason."""
    known = {one.value: one.name.lower().replace("_", " ") for one in FailureReason}
    return f"0x{reason:04X} ({known[reason]})" if reason in known else f"0x{reason:04X}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRequest:
    """A peer's N-ACTION.

    Attributes:
        peer: the name of the peer that asked, which is who is answered.
    """

    peer: str
    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request that somebody is answering; `attempt` counts from 1."""

    request_id: int
    attempt: int
    request: CommitmentRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """An N-EVENT-REPORT: what is promised to be kept, and what is not, each with its Failure Reason."""

    transaction_uid: str
    committed: tuple[Reference, ...] = ()
    failed: tuple[tuple[Reference, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptInstance:
    """What the worklist knows of a registered instance's file; `size` is its data set's, in bytes."""

    sop_instance_uid: str
    sop_class_uid: str
    path: str
    size: int
    sha256: str


class AnswerState(StrEnum):
    """Where a peer's request is."""

    WAITING = "waiting"
    ANSWERED = "answered"
    DEAD = "dead"  # the peer could not be told, or refused the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a report changed: deliveries that are committed now, are sent again, or are dead."""

    committed: int = 0
    resent: int = 0
    dead: int = 0


class Commitments(Protocol):
    """What the worklist keeps of storage commitment; every method that reads as an order is one transaction.

    What somebody works on is held by a time in its row, until which nobody else takes it: that is its lease.
    Every method raises `WorklistUnavailableError` when the database is away.
    """

    # --- asked of us ----------------------------------------------------------------------------------------------
    def keep_commitment_request(
        self, request: CommitmentRequest, now: datetime, answer_at: datetime, forget: datetime | None = None
    ) -> bool:
        """Keep a peer's request, with an audit event, to be answered from `answer_at` on; returns after commit.

        It takes the place of the oldest that has ended and was asked for before `forget`: so there are never more than
        were asked for in that time. What became of it stays in the audit trail.

        The same Transaction UID from the same peer again is the same request: its answer may have been lost, so it is
        answered once more. False then.
        """

    def claim_commitment_request(
        self, now: datetime, until: datetime, away: Collection[str] = ()
    ) -> OpenRequest | None:
        """The request that has been due longest, of a peer that is not `away`; nobody else gets it before `until`.

        Counts the attempt before it is made.
        """

    def hold_commitment_request(self, claimed: OpenRequest, until: datetime) -> None:
        """Go on holding it: many files take long to look at. Nothing happens where another attempt has begun."""

    def kept_instances(self, sop_instance_uids: Collection[str]) -> Mapping[str, KeptInstance]:
        """Those of the instances that are registered, by SOP Instance UID."""

    def commitment_answered(self, claimed: OpenRequest, failures: int, now: datetime) -> None:
        """The peer has been told, with so many failures; what it asked for is not kept any longer."""

    def commitment_unanswered(self, claimed: OpenRequest, error: str, retry_at: datetime | None, now: datetime) -> None:
        """Keep the error; try again at `retry_at`, or never (DEAD, audited) when it is None."""

    # --- asked by us ----------------------------------------------------------------------------------------------
    def claim_commitments(
        self, destination: str, transaction_uid: str, now: datetime, until: datetime, limit: int, most_asks: int
    ) -> Sequence[Artifact]:
        """Objects sent to `destination` that it is to be asked about now, as one transaction, oldest first.

        Counts the question before it is put. Nobody else gets them before `until`, when they are asked about again,
        unless one of the two methods below says otherwise. What was asked about `most_asks` times without an answer
        stays sent, and its error says so.
        """

    def commitments_asked(self, transaction_uid: str, until: datetime) -> None:
        """The destination has taken the question; it has time `until` then to answer."""

    def commitments_not_asked(self, transaction_uid: str, error: str, again_at: datetime, *, counted: bool) -> None:
        """The destination did not take the question. `counted=False`: it could not be reached, which is no answer."""

    def commitment_reported(
        self, destinations: Collection[str], report: CommitmentReport, most_resends: int, now: datetime
    ) -> Reported:
        """A destination says what it keeps of what it was sent; the same report again changes nothing.

        Committed objects are COMMITTED, also where the report answers an earlier question than the last. A failed one
        is sent again, `most_resends` times at most, then it is DEAD with the reason; failures count only as the answer
        to the last question, since the object may have been sent again after an earlier one.
        """
