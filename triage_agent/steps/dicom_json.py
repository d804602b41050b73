"""Data sets that come as DICOM JSON (PS3.18 annex F), and keys that come as query parameters (section 8.3.4). Pure.

What is read came over a wire: of bounded size and depth, or it is refused. Nothing of its text is repeated.
"""

import json
from collections.abc import Iterable, Mapping

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.quiet import quiet

LONGEST = 128 * 1024  # bytes; of a workitem not more than 64 KiB are kept
_DEEPEST = 32  # sequences in sequences, each two or three levels of JSON
_LONGEST_VALUE = 1024  # characters of a key
_TAG_DIGITS = 8
_NUMBERS = frozenset({"US", "SS", "UL", "SL", "IS"})


def read_data_set(body: bytes) -> Dataset:
    """The one data set of a body, which may stand in an array.

    Raises:
        InvalidDatasetError: it is not DICOM JSON, or nested more deeply than any workitem.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidDatasetError("the body is no JSON") from error
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    named = isinstance(said, dict) and all(len(tag) == _TAG_DIGITS for tag in said)
    if not isinstance(said, dict) or not named or _depth(said) > 3 * _DEEPEST:
        raise InvalidDatasetError("the body is not one data set in DICOM JSON")
    try:
        with quiet():
            return Dataset.from_json(said)
    except Exception as error:
        raise InvalidDatasetError(f"the data set cannot be read ({type(error).__name__})") from error


def _depth(value: object) -> int:
    """Levels of arrays and objects in one another."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def write_data_set(data: Dataset) -> dict[str, object]:
    """A data set of ours as DICOM JSON."""
    with quiet():
        return dict(data.to_json_dict())


def read_keys(parameters: Iterable[tuple[str, str]]) -> Dataset:
    """The matching keys of a search: keywords or tags, of a sequence's item behind its own and a dot.

    Raises:
        InvalidDatasetError: one names no attribute, or its value is none.
    """
    keys = Dataset()
    for name, value in parameters:
        *path, last = [_tag(part) for part in name.split(".")]
        inner = keys
        for tag in path:
            inner = _item(inner, tag)
        vr = dictionary_VR(last)
        if vr == "SQ" and not value:
            inner[last] = DataElement(last, "SQ", Sequence([]))
        elif vr == "SQ" or len(value) > _LONGEST_VALUE:
            raise InvalidDatasetError("a key is a sequence, or too long")
        else:
            inner[last] = _element(last, vr, value)
    return keys


def _element(tag: BaseTag, vr: str, text: str) -> DataElement:
    """A key; pydicom makes numbers of some texts at once, and says so when one is none."""
    try:
        return DataElement(tag, vr, _value(vr, text), validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidDatasetError("a key's value is none of its kind") from error


def _item(keys: Dataset, tag: BaseTag) -> Dataset:
    """The one item of a sequence that is asked for."""
    if dictionary_VR(tag) != "SQ":
        raise InvalidDatasetError("a key goes into what is no sequence")
    if tag not in keys or not keys[tag].value:
        keys[tag] = DataElement(tag, "SQ", Sequence([Dataset()]))
    item: Dataset = keys[tag].value[0]
    return item


def _value(vr: str, text: str) -> object:
    several = text.replace(",", "\\") if vr == "UI" else text
    if vr not in _NUMBERS or not text:
        return several.split("\\") if "\\" in several else several
    try:
        return int(text)
    except ValueError as error:
        raise InvalidDatasetError("a key is no number") from error


def _tag(name: str) -> BaseTag:
    """The attribute of a keyword or of eight hexadecimal digits."""
    try:
        tag = Tag(int(name, 16)) if len(name) == _TAG_DIGITS and name.isalnum() and name.isascii() else None
    except ValueError:
        tag = None
    if tag is None:
        number = tag_for_keyword(name) if name else None  # some attributes have no keyword
        tag = None if number is None else Tag(number)
    try:
        if tag is not None:
            dictionary_VR(tag)
            return tag
    except KeyError:
        pass
    raise InvalidDatasetError("a key names no attribute of DICOM's dictionary")


def event_report(
    uid: str, sop_class_uid: str, kind: int, number: int, information: Mapping[str, object]
) -> dict[str, object]:
    """A Workitem Event Report (PS3.18 section 11.13): of the command the class, a number, the workitem and the kind."""
    said: dict[str, object] = {
        "00000002": {"vr": "UI", "Value": [sop_class_uid]},
        "00000110": {"vr": "US", "Value": [number]},
        "00001000": {"vr": "UI", "Value": [uid]},
        "00001002": {"vr": "US", "Value": [kind]},
    }
    return said | dict(sorted(information.items()))
