"""How deep data sets go, told from their bytes."""

import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from triage_agent.dimse.nesting import nests_deeper

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


def nested(depth, *, undefined=False):
    """So many sequences within one another, each with something before and behind it."""
    data_set = Dataset()
    data_set.TransactionUID = "2.25.9"
    for _ in range(depth):
        outer = Dataset()
        outer.PatientID = "P1"
        outer.ReferencedSOPSequence = [data_set]
        outer.StudyID = "S1"
        outer["ReferencedSOPSequence"].is_undefined_length = undefined
        data_set.is_undefined_length_sequence_item = undefined
        data_set = outer
    return data_set


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [0, 1, 4, 5, 30])
def test_it_is_as_deep_as_its_sequences_stand_in_one_another(syntax, undefined, depth):
    content = encode(nested(depth, undefined=undefined), syntax.is_implicit_VR, syntax.is_little_endian)
    assert nests_deeper(memoryview(content), syntax, 4) is (depth > 4)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [True, False])
def test_what_stands_beside_one_another_is_not_deep(syntax, undefined):
    data_set = Dataset()
    for keyword in ("ReferencedSOPSequence", "FailedSOPSequence", "ReferencedStudySequence"):
        items = [nested(1, undefined=undefined) for _ in range(50)]
        setattr(data_set, keyword, items)
        data_set[keyword].is_undefined_length = undefined
    content = encode(data_set, syntax.is_implicit_VR, syntax.is_little_endian)
    assert not nests_deeper(memoryview(content), syntax, 2)
    assert nests_deeper(memoryview(content), syntax, 1)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("content", [b"", b"\x08", b"\xff" * 40, b"\x08\x00\x18\x00UN\0\0", bytes(5000)])
def test_what_is_no_data_set_is_not_deep(syntax, content):
    assert not nests_deeper(memoryview(content), syntax, 16)
