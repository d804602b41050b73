"""C-FIND matching of a data set with an identifier (PS3.4 section C.2.2.2), and the answer that it asks for. Pure.

Single value, list of UIDs, wildcard, range, sequence and universal matching; an element that cannot be read matches
nothing.
"""

import re
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

_NOT_KEYS = frozenset({0x00080005, 0x00080201})  # character set and time zone say how the others are meant
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_RANGES = frozenset({"DA", "DT", "TM"})
_LONGEST_KEY = 1024  # characters; beyond them nothing of ours can match


def matches(data: Dataset, keys: Dataset) -> bool:
    """Whether `data` has what every key asks for."""
    return all(_matches_one(data, key) for key in _elements(keys))


def answer(data: Dataset, keys: Dataset) -> Dataset:
    """What of `data` the keys name; a key that it has nothing for is there without a value (PS3.4 C.2.2.1.3)."""
    given = Dataset()
    if "SpecificCharacterSet" in data:
        given.SpecificCharacterSet = data.SpecificCharacterSet
    for key in _elements(keys):
        element = _element(data, key.tag)
        if element is None:
            given.add_new(key.tag, key.VR, [] if key.VR == "SQ" else None)
        elif key.VR == "SQ" and element.VR == "SQ" and key.value and len(key.value[0]):
            given.add_new(key.tag, "SQ", [answer(item, key.value[0]) for item in element.value])
        else:
            given.add(element)
    return given


def values_of(keys: Dataset, tag: BaseTag | int) -> list[str] | None:
    """The plain values that a key asks for; None where any would do, or it has wildcards or a range."""
    if tag not in keys:
        return None
    key = keys[tag]
    values = _texts(key)
    if not any(values) or any("*" in value or "?" in value for value in values):
        return None
    return values


def _elements(keys: Dataset) -> Iterator[DataElement]:
    for tag in keys.keys():  # noqa: SIM118 - iterating a data set converts elements, which may fail
        if int(tag) not in _NOT_KEYS and int(tag) & 0xFFFF:
            yield keys[tag]


def _element(data: Dataset, tag: BaseTag) -> DataElement | None:
    return data.get(tag)


def _matches_one(data: Dataset, key: DataElement) -> bool:
    element = _element(data, key.tag)
    if key.VR == "SQ":
        return _matches_sequence(element, key)
    wanted = [text for text in _texts(key) if text]
    if not wanted or wanted == ["*"]:
        return True
    if any(len(text) > _LONGEST_KEY for text in wanted):
        return False
    have = _texts(element) if element is not None else []
    if key.VR == "UI":
        return any(text in wanted for text in have)
    if key.VR in _RANGES and "-" in wanted[0]:
        return any(_in_range(text, wanted[0]) for text in have if text)
    return any(_fits(text, pattern, key.VR) for text in have for pattern in wanted)


def _matches_sequence(element: DataElement | None, key: DataElement) -> bool:
    if not key.value or not len(key.value[0]):
        return True
    items = element.value if element is not None and isinstance(element.value, Sequence) else []
    if not items:  # an absent sequence is like one whose item has nothing
        items = [Dataset()]
    return any(matches(item, key.value[0]) for item in items)


def _texts(element: DataElement) -> list[str]:
    value = element.value
    if value is None:
        return []
    several = value if isinstance(value, list | tuple) or element.VM > 1 else [value]
    return [str(one).strip(" \0") for one in several]


def _fits(text: str, pattern: str, vr: str) -> bool:
    if vr == "PN":
        text, pattern = text.rstrip("^=").casefold(), pattern.rstrip("^=").casefold()
    if vr in _WILD and ("*" in pattern or "?" in pattern):
        return _compiled(pattern).fullmatch(text) is not None
    return text == pattern


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))


def _in_range(text: str, wanted: str) -> bool:
    """Both ends count, each to the precision that it is given in; a DT's own offset from UTC is left aside."""
    low, _, high = wanted.partition("-")
    return (not low or text[: len(low)] >= low) and (not high or text[: len(high)] <= high)
