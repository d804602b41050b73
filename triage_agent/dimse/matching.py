"""Matching of what is asked for with what is known, as C-FIND wants it (PS3.4 section C.2.2.2).

What is asked came from a peer: it is read element by element, only those that are supported, and nothing of it is
converted by pydicom, which warns with the values that it does not like.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DataSetSequence
from pydicom.tag import BaseTag, Tag

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.uids import is_uid

Known: TypeAlias = Mapping[str, "str | Sequence[Known]"]
"""What is known of an entity, by keyword: values as they stand in a data set, several of them between backslashes."""

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""The attributes that are supported, by keyword; those of an item where it is a sequence."""

_WILDCARDS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})  # section C.2.2.2.4
_MOST_VALUES = 1000  # of a list of UIDs
_LONGEST = 4096  # bytes of a key that is no list of UIDs
_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"([0-9]{2}){1,3}(\.[0-9]{1,6})?")
_FIRST_TIME, _LAST_TIME = "000000.000000", "235959.999999"
_ESCAPE = b"\x1b"

_Fits: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Key:
    """One attribute that is asked for; without `fits` and `inner` whatever it is."""

    keyword: str
    vr: str
    text: str = ""
    fits: _Fits | None = None
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

    @property
    def is_universal(self) -> bool:
        """Whether everything matches."""
        return all(key.fits is None and (key.inner is None or key.inner.is_universal) for key in self.keys)

    def matches(self, known: Known) -> bool:
        """Whether every key does."""
        return all(key.matches(known) for key in self.keys)

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

    def within(self, keyword: str) -> "Query":
        """What is asked for of a sequence's items."""
        return next((key.inner for key in self.keys if key.keyword == keyword and key.inner), Query(()))


def read_query(identifier: Dataset, shape: Shape, encodings: Sequence[str]) -> Query:
    """What a C-FIND's identifier asks for.

    Args:
        identifier: as it was decoded, its elements not yet converted.
        shape: what is supported.
        encodings: Python's, of the identifier's character sets.

    Raises:
        InvalidDatasetError: an element cannot be read, or is not as its VR wants it.
    """
    known = {_tag(keyword): keyword for keyword in shape}
    keys, ignores = [], False
    for tag in identifier.keys():  # noqa: SIM118 - iterating over a data set converts its elements
        keyword = known.get(BaseTag(tag))
        if keyword is not None:
            keys.append(_read_key(identifier, keyword, shape[keyword], encodings))
        elif tag not in _OF_NO_CONCERN:
            ignores = True
    ignores = ignores or any(key.inner is not None and key.inner.ignores for key in keys)
    return Query(tuple(keys), ignores)


_OF_NO_CONCERN = frozenset({Tag("SpecificCharacterSet"), Tag("TimezoneOffsetFromUTC")})


def encodings_of(identifier: Dataset) -> tuple[str, tuple[str, ...]]:
    """Specific Character Set (0008,0005) of an identifier, and Python's names of what it says."""
    terms = _bytes(identifier, Tag("SpecificCharacterSet")).decode("ascii", "replace").strip("\0 ")
    return terms, tuple(python_encoding.get(term.strip(), "latin_1") for term in terms.split("\\"))


def _read_key(identifier: Dataset, keyword: str, inner: Shape | None, encodings: Sequence[str]) -> _Key:
    tag = _tag(keyword)
    vr = dictionary_VR(tag)
    if inner is not None:
        return _Key(keyword, vr, inner=_read_sequence(identifier, keyword, inner, encodings))
    encoded = _bytes(identifier, tag)
    if len(encoded) > (_MOST_VALUES * 65 if vr == "UI" else _LONGEST):
        raise InvalidDatasetError(f"{keyword} is too long")
    text = _decoded(encoded, encodings if vr in {"LO", "LT", "PN", "SH", "ST", "UC", "UT"} else ("ascii",))
    text = text.strip("\0 ")
    return _Key(keyword, vr, text, _condition(keyword, vr, text))


def _read_sequence(identifier: Dataset, keyword: str, shape: Shape, encodings: Sequence[str]) -> Query:
    """A sequence without an item asks for every attribute of its items, whatever they are (section C.2.2.2.6)."""
    try:
        items = identifier[_tag(keyword)].value
        count = len(items or ())
    except Exception as error:
        raise InvalidDatasetError(f"{keyword} cannot be read ({type(error).__name__})") from error
    if not isinstance(items, DataSetSequence) or count > 1:
        raise InvalidDatasetError(f"{keyword} is not a sequence of one item")
    if count == 0 or not items[0]:
        return read_everything(shape)
    return read_query(items[0], shape, encodings)


def read_everything(shape: Shape) -> Query:
    """A query for every attribute, whatever it is."""
    keys = []
    for keyword, inner in shape.items():
        vr = dictionary_VR(_tag(keyword))
        keys.append(_Key(keyword, vr) if inner is None else _Key(keyword, vr, inner=read_everything(inner)))
    return Query(tuple(keys))


def _condition(keyword: str, vr: str, text: str) -> _Fits | None:
    """What a value must be like; None for universal matching (section C.2.2.2.3)."""
    if not text or (vr in _WILDCARDS and not text.strip("*")):
        return None
    if vr == "UI":
        return _one_of(keyword, text)
    if vr in {"DA", "TM"}:
        return _in_range(keyword, vr, text)
    if vr == "PN":
        return _person(text)
    wanted = [one.strip() for one in text.split("\\")]
    if vr in _WILDCARDS:
        return lambda value: any(is_like(value.strip(), one) for one in wanted)
    return lambda value: value.strip() in wanted


def _one_of(keyword: str, text: str) -> _Fits:
    wanted = frozenset(one.strip("\0 ") for one in text.split("\\"))
    if not all(is_uid(one) for one in wanted):
        raise InvalidDatasetError(f"{keyword} is no UID")
    return wanted.__contains__


def _in_range(keyword: str, vr: str, text: str) -> _Fits:
    """A value or a range of them; times to the precision that is given (section C.2.2.2.5)."""
    plain = text.replace(".", "") if vr == "DA" else text.replace(":", "")
    first, dash, last = (part.strip() for part in plain.partition("-"))
    last = last if dash else first
    form = _DATE if vr == "DA" else _TIME
    if not (first or last) or not all(form.fullmatch(one) for one in (first, last) if one):
        raise InvalidDatasetError(f"{keyword} is no {vr} and no range of them")
    if vr == "DA":
        return lambda value: (not first or first <= value) and (not last or value <= last)
    low = first + _FIRST_TIME[len(first) :]
    high = (last or _LAST_TIME) + _LAST_TIME[len(last or _LAST_TIME) :]
    return lambda value: low <= value + _FIRST_TIME[len(value) :] <= high


def _person(text: str) -> _Fits:
    """Any of the name's groups, or where groups are asked for each its own; case does not matter (section 6.2.1.2)."""
    wanted = [_name(group) for group in text.split("=")]
    if len(wanted) == 1:
        return lambda value: any(is_like(_name(group), wanted[0]) for group in value.split("=") if group)

    def fits(value: str) -> bool:
        groups = [_name(group) for group in value.split("=")] + [""] * len(wanted)
        return all(not one or is_like(group, one) for group, one in zip(groups, wanted, strict=False))

    return fits


def _name(group: str) -> str:
    return group.strip().rstrip("^").strip().casefold()


def is_like(value: str, pattern: str) -> bool:
    """Whether a value is what a pattern with "*" and "?" asks for; in time of their lengths' product at most."""
    at = place = 0
    star, resumed = -1, 0
    while at < len(value):
        if place < len(pattern) and pattern[place] == "*":
            star, resumed = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in {"?", value[at]}:
            at, place = at + 1, place + 1
        elif star >= 0:  # the last "*" takes one character more
            resumed += 1
            at, place = resumed, star + 1
        else:
            return False
    return not pattern[place:].strip("*")


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
