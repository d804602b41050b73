"""What a word for a priority means, in orders and in headers alike. Pure."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from triage_agent.domain.vocabulary import Priority

LONGEST_WORD = 64  # characters; a Requested Procedure Priority (SH) has 16, an HL7 code may have more

# Defined terms of Requested Procedure Priority (0040,1003), PS3.3 section C.4.11; no word, too, asks for nothing.
_STANDARD: Mapping[str, Priority] = MappingProxyType(
    {
        "stat": Priority.STAT,
        "high": Priority.URGENT,
        **dict.fromkeys(("", "routine", "medium", "low"), Priority.ROUTINE),
    }
)


def normal(word: str) -> str:
    """The form in which words are compared: without case, padding and width (Unicode NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())


@dataclass(frozen=True, slots=True)
class PriorityWords:
    """The words that are understood: DICOM's always, and a site's own.

    Attributes:
        own: the site's words, as `normal` writes them.
    """

    own: Mapping[str, Priority] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Mapping[Priority, Iterable[str]]) -> Self:
        """From the words of each priority.

        Raises:
            ValueError: a word is empty or too long, means two priorities, or is DICOM's for another one.
        """
        own: dict[str, Priority] = {}
        for priority, given in words.items():
            for word in given:
                key = normal(word)
                if not key or len(word) > LONGEST_WORD:
                    raise ValueError(f"{word[:20]!r} is no word; give 1 to {LONGEST_WORD} characters")
                meant = _STANDARD.get(key, own.get(key, priority))
                if meant is not priority:
                    whose = "DICOM's word" if key in _STANDARD else "here already a word"
                    raise ValueError(f"{word!r} is {whose} for {meant.value}; take it out of {priority.value}")
                own[key] = priority
        return cls(own)

    def meaning(self, word: str) -> Priority | None:
        """The priority that a word asks for; None when it is not understood."""
        key = normal(word[:LONGEST_WORD])
        return _STANDARD.get(key) or self.own.get(key)


STANDARD = PriorityWords()
