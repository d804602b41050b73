"""Patients' names and identifiers for those who need not know them: initials, and the last two characters."""

from collections.abc import Sequence
from dataclasses import replace

from triage_agent.domain.reading import Listed, ListPage
from triage_agent.domain.study import WorklistItem
from triage_agent.web.site.words import name as said_name

_SHOWN = 2
_HIDDEN = "…"


def masked_name(person: str | None) -> str | None:
    """A PN value (PS3.5 section 6.2) as initials, family name first: "Å. G."."""
    if person is None:
        return None
    words = said_name(person).replace(",", " ").split()
    initials = [f"{word[0]}." for word in words if word[0].isalpha()]
    return " ".join(initials) or _HIDDEN


def masked_id(identifier: str | None) -> str | None:
    """The last two characters, of an identifier that has more than twice as many."""
    if identifier is None:
        return None
    return _HIDDEN + (identifier[-_SHOWN:] if len(identifier) > 2 * _SHOWN else "")


def masked_item(item: WorklistItem) -> WorklistItem:
    """A study, without who the patient is."""
    return replace(item, patient_name=masked_name(item.patient_name), patient_id=masked_id(item.patient_id))


def masked_listed(listed: Listed) -> Listed:
    """The same of a line of the list."""
    return replace(listed, item=masked_item(listed.item))


def masked_page(page: ListPage) -> ListPage:
    """The same of a page of the list."""
    return ListPage(tuple(masked_listed(one) for one in page.studies), page.more)


def masked_all(listed: Sequence[Listed]) -> list[Listed]:
    """The same of several lines."""
    return [masked_listed(one) for one in listed]
