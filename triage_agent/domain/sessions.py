"""Open sessions as their owner, or an admin, sees them: which there are, and ending them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

LONGEST_BROWSER = 60  # characters
LONGEST_ADDRESS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that goes on.

    Attributes:
        digest: SHA-256 of its cookie's value; no page shows it.
        browser: in words, as the browser said of itself when the session began; empty where that is not known.
        address: where it began; empty where that is not known.
        strong: a second factor was given.
    """

    digest: str = field(repr=False)
    began_at: datetime
    seen_at: datetime
    ends_at: datetime
    address: str
    browser: str
    strong: bool


class Sessions(Protocol):
    """Sessions of the pages; ending some and its audit event are one transaction.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def open_of(self, account: str, now: datetime, idle_since: datetime, limit: int) -> Sequence[OpenSession]:
        """Those that go on, the last used first; none that was not used since `idle_since`."""

    def number(self, now: datetime, idle_since: datetime) -> dict[str, int]:
        """How many go on, by account; accounts without any are not in it."""

    def end(self, account: str, digests: Sequence[str], actor: str, address: str, now: datetime) -> int:
        """End these of the account; how many went on until now."""

    def end_others(self, account: str, kept: str, actor: str, address: str, now: datetime) -> int:
        """End all of the account but the one of the digest `kept` ("" for none); how many went on until now."""
