"""Text values in their character sets: decoded as far as they go, never an error.

pydicom's own decoder warns about what it replaces, and a warning is process-wide state that many association threads
would fight over; its tables are used here, its loop is not.
"""

import re
from collections.abc import Sequence

from pydicom.charset import CODES_TO_ENCODINGS, python_encoding

from triage_agent.domain.visible import UNSAFE

_ESCAPE = 0x1B
_FRAGMENT = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*", re.DOTALL)
_LATIN = "latin_1"  # decodes every byte, so that a site which forgot (0008,0005) loses the least
# Codecs that read their own escape sequences.
_ESCAPING_CODECS = frozenset({"iso2022_jp", "iso2022_jp_2"})
# PS3.5 section 6.1.2.5.3: these put the first character set back in force.
_RESETS = re.compile(rb"[\n\r\t\f^=\\]")
_LONGEST = 256  # characters; PN has at most 3 x 64, LO and SH fewer


def character_sets(specific_character_set: bytes) -> tuple[str, ...]:
    """Python's codecs for a value of (0008,0005); unknown terms read as the default repertoire."""
    terms = specific_character_set.decode("ascii", "replace").strip(" \0").split("\\")
    return tuple(_codec(term.strip()) for term in terms)


def decode_text(value: bytes, codecs: Sequence[str]) -> str:
    """The text of `value`, at most 256 characters: undecodable bytes replaced, padding and controls dropped."""
    value = value.rstrip(b"\0 ")[: _LONGEST * 8]
    if _ESCAPE in value:
        text = "".join(_decode_fragment(fragment, codecs) for fragment in _FRAGMENT.findall(value))
    else:
        text = _decode(value, codecs[0])
    return UNSAFE.sub("", text).strip()[:_LONGEST]


def decode_person_name(value: bytes, codecs: Sequence[str]) -> str:
    """A PN value; each of its component groups starts in the first character set (PS3.5 section 6.2.1.2)."""
    return "=".join(decode_text(group, codecs) for group in value.split(b"=", 2)).rstrip("=")[:_LONGEST]


def _codec(term: str) -> str:
    """The codec of one defined term, also in its common misspellings (`ISO-IR 100`, `ISO_2022_IR_87`)."""
    known = python_encoding.get(term)
    if known is None:
        words = re.sub(r"[-_ ]+", " ", term.upper()).replace("ISO IR", "ISO_IR")
        known = python_encoding.get(words, _LATIN)
    return _LATIN if known == "iso8859" else known


def _decode_fragment(fragment: bytes, codecs: Sequence[str]) -> str:
    """Text between two escape sequences, beginning with the one that chooses its codec (PS3.5 section 6.1.2.5)."""
    if fragment[0] != _ESCAPE:
        return _decode(fragment, codecs[0])
    width = 4 if fragment.startswith((b"\x1b$(", b"\x1b$)")) else 3
    codec = CODES_TO_ENCODINGS.get(fragment[:width])
    if codec is None:
        return _decode(fragment[1:], codecs[0])
    if codec in _ESCAPING_CODECS:
        return _decode(fragment, codec)
    text = fragment[width:]
    reset = _RESETS.search(text)
    where = reset.start() if reset else len(text)
    return _decode(text[:where], codec) + _decode(text[where:], codecs[0])


def _decode(value: bytes, codec: str) -> str:
    try:
        return value.decode(codec, "replace")
    except (LookupError, UnicodeError):  # a codec this Python lacks, or one that knows no "replace"
        return value.decode(_LATIN)
