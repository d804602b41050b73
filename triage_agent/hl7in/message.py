"""An HL7 v2 message in its segments, fields and components (HL7 v2.5.1 chapter 2); nothing of it is trusted.

Fields are split when they are asked for. Libraries split everything at once into objects of their own: a message of
one million separators, which any sender may make, then takes hundreds of megabytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from triage_agent.domain.errors import TriageError
from triage_agent.domain.visible import UNSAFE

_MOST_SEGMENTS = 5000
_LONGEST_TEXT = 2000  # characters of one component; no column takes more
_MOST_REPETITIONS = 50

# Table 0211, without what cannot stand in an MLLP frame (UTF-16, UTF-32).
CODECS = {
    "ASCII": "ascii",
    **{f"8859/{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "UNICODE": "utf-8",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp_2",
    "ISO IR159": "iso2022_jp_2",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
}
_JAPANESE = "iso2022_jp_2"
_C1 = re.compile("[\x80-\x9f]")  # controls that no text of an 8859 set has: it was another set


class InvalidMessageError(TriageError):
    """A message that can never be taken.

    Attributes:
        code: what is wrong with it, of table 0357.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


class Segment:
    """One segment; fields, repetitions, components and subcomponents count from 1, as the standard has them."""

    def __init__(self, line: str, delimiters: Delimiters) -> None:
        self.delimiters = delimiters
        self._fields = line.split(delimiters.field)
        if self._fields[0] == "MSH":
            self._fields.insert(1, delimiters.field)  # MSH-1 is the separator itself

    @property
    def name(self) -> str:
        """MSH, PID, ..."""
        return self._fields[0]

    def raw(self, field: int) -> str:
        """A field as it came."""
        return self._fields[field] if field < len(self._fields) else ""

    def repetitions(self, field: int) -> list["Field"]:
        """The repetitions of a field that are not empty, some dozens at most."""
        parts = self.raw(field).split(self.delimiters.repetition, _MOST_REPETITIONS)
        return [Field(part, self.delimiters) for part in parts[:_MOST_REPETITIONS] if part]

    def text(self, field: int, component: int = 1) -> str | None:
        """A component of the field's first repetition; see `Field.text`."""
        found = self.repetitions(field)
        return found[0].text(component) if found else None


class Field:
    """One repetition of a field."""

    def __init__(self, raw: str, delimiters: Delimiters) -> None:
        self._raw = raw
        self._delimiters = delimiters

    def text(self, component: int = 1, subcomponent: int = 1) -> str | None:
        """A (sub)component: None where it is empty, so that nothing is said; "" where it strikes something out."""
        if self._raw == '""':
            return ""
        parts = self._raw.split(self._delimiters.component, component)
        if component > len(parts):
            return None
        inner = parts[component - 1].split(self._delimiters.subcomponent, subcomponent)
        if subcomponent > len(inner):
            return None
        part = inner[subcomponent - 1]
        return "" if part == '""' else plain(unescaped(part[:_LONGEST_TEXT], self._delimiters)) or None


@dataclass(frozen=True)
class Hl7Message:
    """A message that could be split into segments.

    Attributes:
        codec: Python's, by which its bytes were read.
    """

    segments: tuple[Segment, ...]
    codec: str

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]

    @property
    def delimiters(self) -> Delimiters:
        """MSH-1 and MSH-2."""
        return self.header.delimiters

    @cached_property
    def control_id(self) -> str:
        """MSH-10 as it came: the acknowledgement repeats it."""
        return self.header.raw(10)

    @property
    def kind(self) -> tuple[str, str]:
        """Message code and trigger event, MSH-9.1 and MSH-9.2."""
        return (self.header.text(9) or "").upper(), (self.header.text(9, 2) or "").upper()

    @property
    def sender(self) -> str:
        """Who sends it, application and facility: MSH-3 and MSH-4."""
        return "^".join(part for part in (self.header.text(3), self.header.text(4)) if part)

    def named(self, name: str) -> Iterator[Segment]:
        """The segments of one name."""
        return (segment for segment in self.segments if segment.name == name)

    def first(self, name: str) -> Segment:
        """The first segment of a name, an empty one where there is none."""
        return next(self.named(name), Segment(name, Delimiters()))


def parse(frame: bytes, unstated_codec: str = "iso8859_1") -> Hl7Message:
    """Split a message, of whatever line ends.

    Args:
        frame: what stands between the framing bytes.
        unstated_codec: Python's, of a message that states no character set and is not UTF-8.

    Raises:
        InvalidMessageError: it has no MSH, or no end of segments.
    """
    body = frame.lstrip(b"\x0b\r\n \xef\xbb\xbf")
    if not body.startswith(b"MSH") or len(body) < len(b"MSH|^~\\&"):
        raise InvalidMessageError("the message does not begin with MSH", 100)
    text, codec = _decoded(body, unstated_codec)
    delimiters = _delimiters(text)
    lines = [line for line in re.split(r"[\r\n]+", text, maxsplit=_MOST_SEGMENTS) if line.strip()]
    if len(lines) > _MOST_SEGMENTS:
        raise InvalidMessageError("the message has too many segments", 100)
    return Hl7Message(tuple(Segment(line.strip(" \x00"), delimiters) for line in lines), codec)


def _delimiters(text: str) -> Delimiters:
    separator = text[3]
    others = re.split(f"[\r\n{re.escape(separator)}]", text[4:9], maxsplit=1)[0]
    if separator.isalnum() or separator.isspace() or not others or any(one.isalnum() for one in others):
        raise InvalidMessageError("MSH-1 and MSH-2 are no delimiters", 100)
    return Delimiters(separator, *others[:4])


def _decoded(body: bytes, unstated_codec: str) -> tuple[str, str]:
    """The text and by what it was read: as MSH-18 says, and as the bytes are where that cannot be."""
    first = re.split(rb"[\r\n]", body, maxsplit=1)[0].decode("ascii", "replace")
    fields = first.split(first[3:4] or "|")
    stated = fields[17].split("~") if len(fields) > 17 else []  # noqa: PLR2004 - MSH-18, of which MSH-1 is no piece
    codecs = [CODECS[term.strip().upper()] for term in stated if term.strip().upper() in CODECS]
    codec = _JAPANESE if _JAPANESE in codecs else next(iter(codecs), "ascii")
    if codec in {"ascii", "utf-8"}:
        return _first_that_reads(body, ("utf-8", unstated_codec))
    text, read_by = _first_that_reads(body, (codec, "utf-8"))
    if read_by.startswith("iso8859") and _C1.search(text):
        # Stated by an interface that sends its database's bytes as they are, which is common.
        return _first_that_reads(body, ("utf-8", read_by))
    return text, read_by


def _first_that_reads(body: bytes, codecs: tuple[str, ...]) -> tuple[str, str]:
    for codec in codecs:
        try:
            return body.decode(codec), codec
        except (LookupError, UnicodeError):
            continue
    return body.decode(codecs[-1], "replace"), codecs[-1]


def unescaped(text: str, delimiters: Delimiters) -> str:
    """Text without its escapes (chapter 2.7); formatting is left out, and line breaks become blanks."""
    mark = delimiters.escape
    if mark not in text:
        return text
    meant = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": mark,
        ".br": " ",
        ".sp": " ",
    }

    def replaced(found: re.Match[str]) -> str:
        code = found[1]
        return meant[code] if code in meant else _of_hexadecimal(code)

    return re.sub(f"{re.escape(mark)}([^{re.escape(mark)}]*){re.escape(mark)}", replaced, text)


def _of_hexadecimal(code: str) -> str:
    if not code.startswith("X"):
        return ""
    try:
        encoded = bytes.fromhex(code[1:])
    except ValueError:
        return ""
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        return encoded.decode("latin_1")


def plain(text: str) -> str:
    """Text as a DICOM value may have it: no control characters, no backslash, no blanks around it."""
    return UNSAFE.sub(" ", text).replace("\\", "/").strip()
