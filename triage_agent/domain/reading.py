"""The list that readers work through: which studies, in what order, who reads which."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from typing import Protocol

from triage_agent.domain.circumstances import NOTHING_KNOWN, Circumstances
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import Priority, Status

LONGEST_KEY = 64


class Order(StrEnum):
    """How the list is sorted."""

    BEST_FIRST = "best"  # by priority, then probability, then age
    NEWEST_FIRST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page ends: the next one begins behind it, whatever came or went meanwhile."""

    priority: Priority
    probability: float | None
    received_at: datetime
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuestion:
    """Which studies somebody wants to see; None and "" ask for any.

    Attributes:
        text: the beginning of an accession number, a patient's identifier, or a name (`NAME_KEYS`).
        by_patient: whether the text may be a name or an identifier; else it is an accession number alone.
        since: only studies that came then or later.
        read: also those that have been read.
        after: the end of the page before.
    """

    status: Status | None = None
    priority: Priority | None = None
    region: str = ""
    text: str = ""
    by_patient: bool = True
    since: datetime | None = None
    read: bool = False
    order: Order = Order.BEST_FIRST
    after: Place | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A study on the list, and who reads it.

    Attributes:
        known: what its orders, or its headers, say of its urgency, and of where the patient is.
        claimed_by: an account, or the performer of the workitem at a PACS; None where nobody reads it.
        at_pacs: that is somebody at a PACS, whose claim ends there.
    """

    item: WorklistItem
    known: Circumstances = NOTHING_KNOWN
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    at_pacs: bool = False
    read_by: str | None = None
    read_at: datetime | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        item = self.item
        return Place(
            priority=item.priority,
            probability=item.probability,
            received_at=item.received_at,
            study_instance_uid=item.study_instance_uid,
        )


@dataclass(frozen=True, slots=True)
class ListPage:
    """Some of the list, and whether there is more behind it."""

    studies: tuple[Listed, ...]
    more: bool


class ReadingList(Protocol):
    """Answers what readers ask, and keeps who reads what; claims and their audit events are one transaction.

    Every method raises `WorklistUnavailableError` where the database is away.
    """

    def page(self, question: ListQuestion) -> ListPage:
        """The studies asked for, in order."""

    def one(self, study_instance_uid: str) -> Listed | None:
        """One study."""

    def number(self, status: Status, most: int) -> int:
        """How many studies that have not been read have that status, counted to `most`."""

    def of_patient(self, patient_id: str | None, but: str, limit: int) -> Sequence[Listed]:
        """Other studies of the patient than `but`, newest first; none where the patient has no identifier."""

    def regions(self) -> Sequence[str]:
        """Every region that some study shows, by name."""

    def claim(self, study_instance_uid: str, reader: str, now: datetime, stale_before: datetime) -> str | None:
        """Read a study, unless somebody else does; who reads it then, or None where there is no such study.

        A claim from before `stale_before` has been forgotten by its owner and is taken over.
        """

    def release(self, study_instance_uid: str, reader: str, now: datetime) -> bool:
        """Give one's claim back; False where it was not one's own."""

    def mark_read(self, study_instance_uid: str, reader: str, now: datetime, *, seen: int) -> bool:
        """The study has been read: it leaves the list, until more images come.

        False where somebody else reads it, or it has more than the `seen` instances that the reader was shown.
        """

    def mark_unread(self, study_instance_uid: str, reader: str, now: datetime) -> bool:
        """Put it back on the list."""


NAME_KEYS = ("name_key", "given_key", "second_key", "second_given_key", "third_key", "third_given_key")
"""What a name is searched by: each of its groups (PS3.5 section 6.2.1), with the family name first and the given."""


def search_key(text: str | None) -> str | None:
    """A name as it is searched for: without case, accents, PN delimiters and commas, the first group alone, at most 64.

    "Åkesson^Görel", and "Åkesson, Görel", as pages show it, become "akesson gorel"; what has no letters becomes None.
    Scripts that put no space between family and given name have none in their keys either.
    """
    return _plain(next(iter(_groups(text)), ""))


def name_keys(text: str | None) -> Mapping[str, str | None]:
    """A PN value by all of `NAME_KEYS`; None where it has no such group, or no such order."""
    keys: list[str | None] = []
    for group in _groups(text)[: len(NAME_KEYS) // 2]:
        family, _, rest = group.partition("^")
        given, _, others = rest.partition("^")
        both = bool(family.strip() and given.strip())
        keys += [_plain(group), _plain(f"{given}^{family}^{others}") if both else None]
    return dict(zip_longest(NAME_KEYS, keys))


def _groups(text: str | None) -> list[str]:
    """Those that say anything: alphabetic, ideographic, phonetic."""
    return [group for group in (text or "").split("=") if group.strip("^ ")]


def _plain(group: str) -> str | None:
    parted = unicodedata.normalize("NFKD", group.replace("^", " ").casefold()).replace(",", " ")
    plain = "".join(sign for sign in parted if not unicodedata.combining(sign))
    return _UNSPACED.sub("", " ".join(plain.split()))[:LONGEST_KEY].strip() or None


# A space between two signs of Han, kana or (parted by NFKD) Hangul.
_UNSPACED = re.compile("(?<=[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff]) (?=[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff])")
