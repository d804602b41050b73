"""Names of people made to fit what DICOM can say: VR PN has 64 characters a component group (PS3.5 section 6.2)."""

import unicodedata
from dataclasses import replace
from typing import Any, TypeVar

from triage_agent.domain.orders import Order, PatientUpdate

LONGEST_GROUP = 64
"""Characters of one component group, the delimiters of its components included."""

_NAMES = ("patient_name", "referring_physician", "ordering_physician")
_JOINERS = frozenset("\u200c\u200d")

_Said = TypeVar("_Said", Order, PatientUpdate)


def with_fitting_names(said: _Said) -> tuple[_Said, int]:
    """What a message says with its names cut to fit, and how many of them had to be cut."""
    names = {name: value for name in _NAMES if (value := getattr(said, name, None))}
    fitting: dict[str, Any] = {name: fitting_name(value) for name, value in names.items()}
    cut = sum(len(fitting[name]) < len(_composed(names[name])) for name in names)
    return replace(said, **fitting), cut


def fitting_name(name: str) -> str:
    """A PN value whose groups have 64 characters at most, each of them whole.

    Letters and their marks are joined first (Unicode form C): what is the same name then counts, compares and is
    encoded the same, and fewer names are too long.
    """
    return "=".join(_fitting_group(group) for group in _composed(name).split("=")).rstrip("=")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fitting_group(group: str) -> str:
    """Cut where a letter ends: marks that were left without theirs would stand on another one's."""
    if len(group) <= LONGEST_GROUP:
        return group
    end = LONGEST_GROUP
    while end and _belongs_to_the_one_before(group, end):
        end -= 1
    return group[: end or LONGEST_GROUP].rstrip("^ ")


def _belongs_to_the_one_before(text: str, at: int) -> bool:
    return unicodedata.category(text[at]).startswith("M") or text[at] in _JOINERS or text[at - 1] in _JOINERS
