"""Matching of whole data sets, and the part of one that a search asks for (PS3.4 sections C.2.2.1.3 and C.2.2.2)."""

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from triage_agent.matching.query import Known, Query, text_of_value


def is_match(data: Dataset, query: Query) -> bool:
    """Whether `data` has what every key asks for."""
    return query.matches(_known(data, query))


def answer(data: Dataset, query: Query) -> Dataset:
    """What of `data` the keys name, of a sequence the items that match; what it has nothing for is there, and empty."""
    given = Dataset()
    if "SpecificCharacterSet" in data:
        given.SpecificCharacterSet = data.SpecificCharacterSet
    for key in query.keys:
        tag = _tag(key.keyword)
        if tag not in data:
            given.add_new(tag, key.vr, [] if key.vr == "SQ" else None)
        elif key.inner is not None and key.inner.keys:
            items = [item for item in data[tag].value if is_match(item, key.inner)]
            given.add_new(tag, "SQ", [answer(item, key.inner) for item in items])
        else:
            given.add(data[tag])
    return given


def _known(data: Dataset, query: Query) -> Known:
    """The attributes that are asked for."""
    found: dict[str, str | list[Known]] = {}
    for key in query.keys:
        tag = _tag(key.keyword)
        if tag not in data:
            continue
        element = data[tag]
        if key.inner is None:
            found[key.keyword] = text_of_value(element.value)
        elif isinstance(element.value, Sequence):
            found[key.keyword] = [_known(item, key.inner) for item in element.value]
    return found


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Tag(tag)
