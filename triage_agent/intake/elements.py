"""Walks an encoded data set without decoding it, so that one bad element costs that element and nothing else.

pydicom's reader parses every sequence of undefined length recursively and raises at the first broken one, also in
tags that nobody asked for; a walk over headers alone is linear, needs no recursion and has nothing to raise about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

_UNDEFINED = 0xFFFFFFFF
_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD

# PS3.5 section 7.1.2: these value representations have a 32-bit length after two reserved bytes.
_LONG_FORM = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_SHORT_FORM = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
_LETTERS = range(ord("A"), ord("Z") + 1)
_MOST_HEADERS = 200_000  # half a second's work; no image has a tenth of it before the last wanted tag


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written (PS3.5 section 7)."""

    implicit: bool
    little_endian: bool

    @property
    def tag(self) -> Struct:
        """Group and element numbers."""
        return _TAG[self.little_endian]

    @property
    def long(self) -> Struct:
        """A 32-bit length."""
        return _LONG[self.little_endian]

    @property
    def short(self) -> Struct:
        """A 16-bit length."""
        return _SHORT[self.little_endian]


_TAG = (Struct(">HH"), Struct("<HH"))
_LONG = (Struct(">I"), Struct("<I"))
_SHORT = (Struct(">H"), Struct("<H"))

IMPLICIT_LITTLE = Encoding(implicit=True, little_endian=True)


class Element(NamedTuple):
    """One element as it lies in its data set; `encoding` is its value's, `end` is where the next element begins."""

    tag: int
    value: memoryview
    encoding: Encoding
    end: int


class _Header(NamedTuple):
    tag: int
    start: int  # of the value
    length: int
    unknown: bool  # VR UN, whose undefined-length content is implicit little endian (PS3.5 section 6.2.2 note 2)


def elements(data: memoryview, encoding: Encoding, start: int = 0) -> Iterator[Element]:
    """The top-level elements from `start`, as far as they can be followed; never raises."""
    encoding = _as_written(data, encoding, start)
    position = start
    budget = _Budget(_MOST_HEADERS)
    while (header := _header(data, position, encoding)) is not None and budget.spend():
        inner = encoding
        if header.length == _UNDEFINED:
            inner = IMPLICIT_LITTLE if header.unknown else encoding
            end = _end_of_items(data, header.start, inner, budget)
        else:
            end = header.start + header.length
        if end > len(data):
            return  # says that it is longer than what there is: nothing after it can be found
        yield Element(header.tag, data[header.start : end], inner, end)
        position = end


def items(sequence: Element) -> Iterator[memoryview]:
    """The data sets of a sequence's items, as far as they can be followed; never raises."""
    data, encoding = sequence.value, sequence.encoding
    budget = _Budget(_MOST_HEADERS)
    position = 0
    while (header := _item_header(data, position, encoding)) is not None and header.tag == _ITEM and budget.spend():
        if header.length == _UNDEFINED:
            end = _end_of_item(data, header.start, encoding, budget)
        else:
            end = header.start + header.length
        yield data[header.start : min(end, len(data))]
        position = end


class _Budget:
    """Stops a data set made of nothing but headers from taking minutes."""

    def __init__(self, headers: int) -> None:
        self._left = headers

    def spend(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _as_written(data: memoryview, encoding: Encoding, start: int) -> Encoding:
    """Explicit where implicit was negotiated but the first element carries a VR, as some senders do."""
    representation = bytes(data[start + 4 : start + 6])
    if encoding.implicit and representation in _SHORT_FORM | _LONG_FORM:
        return Encoding(implicit=False, little_endian=encoding.little_endian)
    return encoding


def _header(data: memoryview, position: int, encoding: Encoding) -> _Header | None:
    """The element header at `position`; None at the end of the data."""
    if position + 8 > len(data):
        return None
    group, number = encoding.tag.unpack_from(data, position)
    tag = group << 16 | number
    if not encoding.implicit:
        representation = bytes(data[position + 4 : position + 6])
        if representation in _LONG_FORM:
            if position + 12 > len(data):
                return None
            (length,) = encoding.long.unpack_from(data, position + 8)
            return _Header(tag, position + 12, length, representation == b"UN")
        if representation[0] in _LETTERS and representation[1] in _LETTERS:
            (length,) = encoding.short.unpack_from(data, position + 6)
            return _Header(tag, position + 8, length, unknown=False)
        # No VR: an item or delimiter, or a writer that switched to implicit in the middle.
    (length,) = encoding.long.unpack_from(data, position + 4)
    return _Header(tag, position + 8, length, unknown=False)


def _item_header(data: memoryview, position: int, encoding: Encoding) -> _Header | None:
    """The item or delimiter at `position`: these carry no VR (PS3.5 section 7.5)."""
    if position + 8 > len(data):
        return None
    group, number = encoding.tag.unpack_from(data, position)
    (length,) = encoding.long.unpack_from(data, position + 4)
    return _Header(group << 16 | number, position + 8, length, unknown=False)


def _end_of_items(data: memoryview, position: int, encoding: Encoding, budget: _Budget) -> int:
    """Where a sequence of undefined length (or encapsulated pixel data) ends; beyond the data when it does not."""
    return _walk(data, position, [(True, encoding)], budget)


def _end_of_item(data: memoryview, position: int, encoding: Encoding, budget: _Budget) -> int:
    """Where an item of undefined length ends; beyond the data when it does not."""
    return _walk(data, position, [(False, encoding)], budget)


def _walk(data: memoryview, position: int, open_levels: list[tuple[bool, Encoding]], budget: _Budget) -> int:
    """Follow nested undefined lengths with a list in place of recursion; a level is (inside a sequence?, encoding)."""
    never = len(data) + 1
    while open_levels:
        in_sequence, encoding = open_levels[-1]
        header = (_item_header if in_sequence else _header)(data, position, encoding)
        if header is None or not budget.spend():
            return never
        if header.tag == (_SEQUENCE_END if in_sequence else _ITEM_END):
            open_levels.pop()
            position = header.start
        elif in_sequence and header.tag != _ITEM:
            return never  # neither an item nor the end: lost
        elif header.length == _UNDEFINED:
            open_levels.append((not in_sequence, IMPLICIT_LITTLE if header.unknown else encoding))
            position = header.start
        else:
            position = header.start + header.length
    return position
