"""The audit log as a chain: what seals a record, and the port to where records and seals are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from triage_agent.domain.audit import AuditRecord, AuditTrail

GENESIS = "0" * 64
"""What the first seal follows."""

LATE = timedelta(seconds=60)
"""For a record to wait for its seal: a running agent seals within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """One link of the chain.

    Attributes:
        position: 1, 2, 3 ... in the order in which records were sealed.
        record_id: the record that it seals.
        floor: after it, no record with such an id or a lower one is to be sealed any more.
        sealed_at: `TIME_FORMAT`.
        head: SHA-256 over the seal before, this one, and the record.
    """

    position: int
    record_id: int
    floor: int
    sealed_at: object
    head: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the chain ends, as is kept beside it; `position` is 0 and `head` `GENESIS` before the first seal."""

    position: int
    head: str
    floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsealed:
    """Records that wait for their seal; `oldest` is when the first of them was made."""

    number: int
    oldest: datetime | None

    def lag(self, now: datetime) -> timedelta:
        """How long the oldest has waited."""
        return timedelta(0) if self.oldest is None else max(timedelta(0), now - self.oldest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """How far a reader of the chain is behind it."""

    number: int
    oldest: datetime | None
    last_error: str | None = None


Link = Callable[[Seal, AuditRecord, str], str]
"""The head of a seal (whose own `head` is not looked at) over a record, after the head before it."""


class AuditLog(AuditTrail, Protocol):
    """Where records and their seals are kept. Every method raises `WorklistUnavailableError` where that is away."""

    def seal(self, link: Link, now: datetime, limit: int = 500) -> int:
        """Seal up to `limit` committed records that are not yet; returns how many.

        0 also where another process is sealing at this moment.
        """
        ...

    def head(self) -> Head | None:
        """Where the chain ends; None where that was removed."""
        ...

    def links(self, after: int, limit: int) -> Sequence[tuple[Seal, AuditRecord | None]]:
        """Seals behind a position, in order, with the records that they seal, where there are such."""
        ...

    def strangers(self, floor: int, limit: int) -> Sequence[int]:
        """Ids up to `floor` of records that nothing seals: the agent did not write them."""
        ...

    def unsealed(self, floor: int) -> Unsealed:
        """Records above `floor` that wait for their seal."""
        ...

    def span(self, since: datetime | None, until: datetime | None) -> tuple[int, int]:
        """The first and the last position sealed in a period; (1, 0) where none was."""
        ...

    def claim_cursor(self, name: str, owner: str, now: datetime, lease: timedelta) -> int | None:
        """The position up to which a reader of the chain is done, held by `owner` for `lease`; None: another has it."""
        ...

    def move_cursor(self, name: str, owner: str, position: int, now: datetime, lease: timedelta) -> bool:
        """Done up to `position`; False where another holds it now."""
        ...

    def release_cursor(self, name: str, owner: str, error: str | None) -> None:
        """Hold it no longer; `error` is why nothing goes on, None where all is well."""
        ...

    def behind(self, name: str) -> Behind:
        """How far a reader is behind."""
        ...
