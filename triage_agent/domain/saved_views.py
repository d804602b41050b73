"""Lists that somebody comes back to: a name, and what the list shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

MOST_VIEWS = 20  # an account's
LONGEST_NAME = 40
LONGEST_QUERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """One of somebody's lists.

    Attributes:
        number: 1 to MOST_VIEWS; what it is removed by.
        query: of the worklist's address, as `web.site.asking.View` writes it.
    """

    number: int
    name: str
    query: str


class SavedViews(Protocol):
    """Keeps them; every method raises `WorklistUnavailableError` where the database is away."""

    def of(self, account: str) -> Sequence[SavedView]:
        """An account's, by name."""

    def save(self, account: str, name: str, query: str, now: datetime) -> bool:
        """Keep one; False where another has its name, or there are MOST_VIEWS already."""

    def remove(self, account: str, number: int, now: datetime) -> bool:
        """Keep it no longer; False where there is none."""
