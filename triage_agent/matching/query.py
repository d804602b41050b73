"""What is asked for, and whether what is known is that (PS3.4 section C.2.2.2).

What is asked came from a peer: it is read element by element, only those that are supported; texts are not converted
by pydicom, which warns with the values that it does not like.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, TypeAlias

from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DataSetSequence
from pydicom.tag import BaseTag, Tag

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.quiet import quiet
from triage_agent.matching.values import Fits, condition, earliest, is_plain, latest, read_offset, read_range

Known: TypeAlias = Mapping[str, "str | Sequence[Known]"]
"""What is known of an entity, by keyword: values as they stand in a data set, several of them between backslashes."""

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""The attributes that are supported, by keyword; those of an item where it is a sequence."""

_MOST_VALUES = 1000  # of a list of UIDs
_LONGEST = 4096  # bytes of a key that is no list of UIDs
_ESCAPE = b"\x1b"


_OF_NO_CONCERN = frozenset({Tag("SpecificCharacterSet"), Tag("TimezoneOffsetFromUTC")})
_TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # in the identifier's character set
_NUMBERS = frozenset({"FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})  # not written as text


@dataclass(frozen=True, slots=True)
class _Together:
    """A date and a time that are asked for as ranges, and mean one period (PS3.4 table K.6-1, on 0040,0003)."""

    date: str
    time: str
    first: str
    last: str

    def matches(self, known: Known) -> bool:
        date, time = known.get(self.date, ""), known.get(self.time, "")
        if not isinstance(date, str) or not isinstance(time, str) or not date or not time:
            return False
        return (not self.first or self.first <= date + earliest(time)) and (
            not self.last or date + earliest(time) <= self.last
        )


@dataclass(frozen=True, slots=True)
class _Key:
    """One attribute that is asked for; without `fits` and `inner` whatever it is."""

    keyword: str
    vr: str
    text: str = ""
    fits: Fits | None = None
    inner: "Query | None" = None

    def matches(self, known: Known) -> bool:
        value = known.get(self.keyword, "")
        if self.inner is not None:
            items: Sequence[Known] = () if isinstance(value, str) else value
            return self.inner.is_universal or any(self.inner.matches(item) for item in items)
        if self.fits is None:
            return True
        return isinstance(value, str) and any(self.fits(one) for one in value.split("\\") if one)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Attributes:
        ignores: some of what is asked for is not supported: neither matched nor returned.
    """

    keys: tuple[_Key, ...]
    ignores: bool = False
    together: tuple[_Together, ...] = ()

    @property
    def is_universal(self) -> bool:
        """Whether everything matches."""
        return not self.together and all(
            key.fits is None and (key.inner is None or key.inner.is_universal) for key in self.keys
        )

    def matches(self, known: Known) -> bool:
        """Whether every key does."""
        return all(key.matches(known) for key in self.keys) and all(one.matches(known) for one in self.together)

    def answer(self, known: Known) -> Dataset:
        """The attributes that are asked for; of a sequence only the items that match."""
        found = Dataset()
        for key in self.keys:
            value = known.get(key.keyword, "")
            if key.inner is not None:
                items: Sequence[Known] = () if isinstance(value, str) else value
                matching = [key.inner.answer(item) for item in items if key.inner.matches(item)]
                found.add(DataElement(_tag(key.keyword), "SQ", DataSetSequence(matching)))
            else:
                found.add(_element(key, value if isinstance(value, str) else ""))
        return found

    def exactly(self, keyword: str) -> str:
        """The one value that an attribute must have; "" where there is no such value."""
        text = next((key.text for key in self.keys if key.keyword == keyword and key.fits is not None), "")
        return "" if set(text) & set("*?\\") else text

    def listed(self, keyword: str) -> tuple[str, ...]:
        """The values of which an attribute must have one; empty where any will do."""
        found = [key.text.split("\\") for key in self.keys if key.keyword == keyword and key.fits is not None]
        return tuple(found[0]) if found else ()

    def plainly(self, keyword: str) -> list[str] | None:
        """The values of which an attribute must have one, letter for letter; None where that is not what is asked."""
        found = [key for key in self.keys if key.keyword == keyword and key.fits is not None]
        if not found or not is_plain(found[0].vr, found[0].text):
            return None
        return [one.strip() for one in found[0].text.split("\\")]

    def within(self, keyword: str) -> "Query":
        """What is asked for of a sequence's items."""
        return next((key.inner for key in self.keys if key.keyword == keyword and key.inner), Query(()))


def read_query(
    identifier: Dataset,
    shape: Shape | None,
    encodings: Sequence[str] = ("utf_8",),
    together: Collection[tuple[str, str]] = (),
) -> Query:
    """What an identifier asks for.

    Args:
        identifier: as it was decoded, its elements not yet converted; or made of values.
        shape: what is supported; None for every attribute of the dictionary.
        encodings: Python's, of the identifier's character sets.
        together: the dates and times whose ranges mean one period.

    Raises:
        InvalidDatasetError: an element cannot be read, or is not as its VR wants it.
    """
    keys, ignores = [], False
    zone = read_offset(_bytes(identifier, Tag("TimezoneOffsetFromUTC")).decode("ascii", "replace").strip("\0 "))
    for tag in identifier.keys():  # noqa: SIM118 - iterating over a data set converts its elements
        keyword = keyword_for_tag(tag)  # those of repeating groups (60xx) have one, too, which names no tag
        is_known = tag_for_keyword(keyword) == tag and int(tag) & 0xFFFF != 0
        if is_known and tag not in _OF_NO_CONCERN and (shape is None or keyword in shape):
            inner = None if shape is None else shape[keyword]
            keys.append(_read_key(identifier, keyword, inner, _Reading(encodings, zone, together)))
        elif tag not in _OF_NO_CONCERN:
            ignores = True
    ignores = ignores or any(key.inner is not None and key.inner.ignores for key in keys)
    return _joined(Query(tuple(keys), ignores), together)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How an identifier is read."""

    encodings: Sequence[str]
    zone: tzinfo
    together: Collection[tuple[str, str]]


def _joined(query: Query, together: Collection[tuple[str, str]]) -> Query:
    """The same with each two ranges that mean one period."""
    texts = {key.keyword: key.text for key in query.keys if key.fits is not None}
    periods = []
    for date, time in together:
        if date in texts and time in texts:
            days, is_period = read_range(date, "DA", texts[date])
            times, is_range = read_range(time, "TM", texts[time])
            if is_period and is_range:
                first = days.first and days.first + earliest(times.first)
                last = days.last and days.last + latest(times.last)
                periods.append(_Together(date, time, first, last))
    alone = {name for one in periods for name in (one.date, one.time)}
    keys = tuple(replace(key, fits=None) if key.keyword in alone else key for key in query.keys)
    return Query(keys, query.ignores, tuple(periods)) if periods else query


def encodings_of(identifier: Dataset) -> tuple[str, tuple[str, ...]]:
    """Specific Character Set (0008,0005) of an identifier, and Python's names of what it says."""
    terms = _bytes(identifier, Tag("SpecificCharacterSet")).decode("ascii", "replace").strip("\0 ")
    return terms, tuple(python_encoding.get(term.strip(), "latin_1") for term in terms.split("\\"))


def _read_key(identifier: Dataset, keyword: str, inner: Shape | None, how: _Reading) -> _Key:
    tag = _tag(keyword)
    vr = dictionary_VR(tag)
    if vr == "SQ":
        return _Key(keyword, vr, inner=_read_sequence(identifier, keyword, inner, how))
    text = _text(identifier, tag, vr, how.encodings).strip("\0 ")
    if len(text) > (_MOST_VALUES * 65 if vr == "UI" else _LONGEST):
        raise InvalidDatasetError(f"{keyword} is too long")
    return _Key(keyword, vr, text, condition(keyword, vr, text, how.zone))


def _text(identifier: Dataset, tag: BaseTag, vr: str, encodings: Sequence[str]) -> str:
    """A key as text; several values between backslashes."""
    raw = _bytes(identifier, tag)
    if raw and vr not in _NUMBERS:
        if len(raw) > _MOST_VALUES * 65:
            raise InvalidDatasetError("a key is too long")
        return _decoded(raw, encodings if vr in _TEXTS else ("ascii",))
    try:
        with quiet():
            value = identifier[tag].value
    except Exception as error:
        raise InvalidDatasetError(f"a key cannot be read ({type(error).__name__})") from error
    return text_of_value(value)


def text_of_value(value: object) -> str:
    """An element's value as text; several between backslashes."""
    if value is None:
        return ""
    several = value if isinstance(value, list | tuple | MultiValue) else [value]
    return "\\".join(str(one) for one in several)


def _read_sequence(identifier: Dataset, keyword: str, shape: Shape | None, how: _Reading) -> Query:
    """A sequence without an item asks for every attribute of its items, whatever they are (section C.2.2.2.6)."""
    try:
        items = identifier[_tag(keyword)].value
        count = len(items or ())
    except Exception as error:
        raise InvalidDatasetError(f"{keyword} cannot be read ({type(error).__name__})") from error
    if not isinstance(items, DataSetSequence) or count > 1:
        raise InvalidDatasetError(f"{keyword} is not a sequence of one item")
    if count == 0 or not items[0]:
        return Query(()) if shape is None else read_everything(shape)
    return read_query(items[0], shape, how.encodings, how.together)


def read_everything(shape: Shape) -> Query:
    """A query for every attribute, whatever it is."""
    keys = []
    for keyword, inner in shape.items():
        vr = dictionary_VR(_tag(keyword))
        keys.append(_Key(keyword, vr) if inner is None else _Key(keyword, vr, inner=read_everything(inner)))
    return Query(tuple(keys))


def _element(key: _Key, value: str) -> DataElement:
    """An element whose text is written as it is known: an identifier that is too long is still what it is."""
    from pydicom import config  # noqa: PLC0415 - its name would hide what it is

    several = value.split("\\") if "\\" in value else value
    empty: object = None if key.vr in {"US", "DS", "SQ"} else ""
    return DataElement(_tag(key.keyword), key.vr, several or empty, validation_mode=config.IGNORE)


def _bytes(identifier: Dataset, tag: BaseTag) -> bytes:
    """A value as it came; nothing where there is none."""
    element: Any = identifier.get_item(tag) if tag in identifier else None
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else b""


def _decoded(value: bytes, encodings: Sequence[str]) -> str:
    try:
        if _ESCAPE in value:
            return decode_bytes(value, list(encodings), set(b"\\^="))
        return value.decode(encodings[0], "replace")
    except Exception as error:  # a codec that Python lacks, or that knows no "replace"
        raise InvalidDatasetError("a text is not in its character set") from error


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Tag(tag)


def texts_of(known: Known) -> Iterator[str]:
    """Every text there is."""
    for value in known.values():
        if isinstance(value, str):
            yield value
        else:
            for item in value:
                yield from texts_of(item)
