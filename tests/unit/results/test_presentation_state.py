from dataclasses import replace

import numpy as np
import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from support.saying import read

from triage_agent.domain.vocabulary import Finding, Outcome
from triage_agent.results.grey_scale import rendering_of, size_of, window_of
from triage_agent.results.presentation_state import annotated, build_presentation_state, can_annotate


@pytest.fixture(scope="module")
def image(header):
    def image(number=1, **values):
        shown = {"Rows": 400, "Columns": 300, "PhotometricInterpretation": "MONOCHROME2"}
        stated = shown | {"WindowCenter": 2000, "WindowWidth": 3000} | values
        return header(number, **{keyword: value for keyword, value in stated.items() if value is not None})

    return image


@pytest.fixture(scope="module")
def state(context, image):
    case = context(headers=[image(1), image(2, Rows=500, WindowCenter=[100, 9], WindowWidth=[20, 8])])
    return read(build_presentation_state(case))


def lut(start=0, data=b"\1\0\2\0"):
    """Two entries of 12 bits; as words where a file has them so."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if start < 0 else "US", [2, start, 12])
    item["LUTData"] = DataElement("LUTData", "OW" if isinstance(data, bytes) else "US", data, validation_mode=IGNORE)
    return item


def test_each_scored_image_has_its_words_in_a_corner_of_the_display_and_no_region(state):
    assert (state.SOPClassUID, state.Modality) == ("1.2.840.10008.5.1.4.1.1.11.1", "PR")
    for number, annotation in enumerate(state.GraphicAnnotationSequence, start=1):
        assert annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID == f"1.2.3.4.1.{number}"
        assert "GraphicObjectSequence" not in annotation
        (text,) = annotation.TextObjectSequence
        assert text.BoundingBoxAnnotationUnits == "DISPLAY"
        assert "AnchorPoint" not in text
        lines = text.UnformattedTextValue.split("\r\n")
        assert lines[0] == "Preliminary. Made by a machine. Not a diagnosis."
        assert "Abnormal (XR_KNEE), probability 0.91. Priority: urgent, ACR category 2, by rule abnormal." in lines
        assert f"This image: probability {0.89 + number / 100:.2f}." in lines
    assert number == 2


def test_the_images_look_as_they_did(state):
    first, second = state.SoftcopyVOILUTSequence
    assert (first.WindowCenter, first.WindowWidth) == (2000, 3000)
    assert (second.WindowCenter, second.WindowWidth) == (100, 20)  # the first of several
    corners = [one.DisplayedAreaBottomRightHandCorner for one in state.DisplayedAreaSelectionSequence]
    assert corners == [[300, 400], [300, 500]]
    assert state.PresentationLUTShape == "IDENTITY"
    assert "RescaleSlope" not in state


def test_an_inverted_and_rescaled_image_stays_so(context, image):
    shown = image(PhotometricInterpretation="MONOCHROME1", RescaleSlope="2", RescaleIntercept="-1024")
    state = read(build_presentation_state(context(headers=[shown])))
    assert (state.PresentationLUTShape, state.RescaleSlope, state.RescaleIntercept) == ("INVERSE", 2, -1024)


def test_where_images_are_shown_differently_most_of_them_are_written_on(context, image):
    headers = [image(1, PhotometricInterpretation="MONOCHROME1"), image(2), image(3)]
    _, shown = annotated(context(headers=headers))
    assert [source.sop_instance_uid for source, _ in shown] == ["1.2.3.4.1.2", "1.2.3.4.1.3"]


def test_an_image_that_was_not_scored_is_not_written_on(context, image):
    case = context(headers=[image(1), image(2)])
    failed = replace(case.assessments[0], outcome=Outcome.FAILED, probability=None)
    _, shown = annotated(replace(case, assessments=(failed, case.assessments[1])))
    assert [source.sop_instance_uid for source, _ in shown] == ["1.2.3.4.1.2"]


def test_there_is_nothing_to_write_on_a_study_that_is_not_assessed_or_for_a_flag(context, image, flag):
    assert can_annotate(context(headers=[image()]))
    assert not can_annotate(context(headers=[image()], finding=Finding.NOT_ASSESSED, probability=None))
    assert not can_annotate(context(headers=[image()], result=flag))


@pytest.mark.parametrize(
    "broken",
    [
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": ""},
        {"Rows": 0},
        {"Columns": None},
        {"ModalityLUTSequence": [lut()]},
    ],
)
def test_an_image_whose_looks_cannot_be_told_is_left_alone(broken, image, context):
    assert rendering_of(image(**broken)) is None
    assert not can_annotate(context(headers=[image(**broken)]))


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("value", ["", "nan", "1e400", "-1e300", "x", "9" * 400])
def test_figures_that_are_none_are_as_if_they_were_not_there(value, image):
    odd = image()
    for keyword in ("WindowWidth", "RescaleSlope"):
        odd[keyword] = DataElement(keyword, "LO", value, validation_mode=IGNORE)
    odd.RescaleIntercept = 5
    assert window_of(odd) is None
    assert rendering_of(odd).slope == ""


@pytest.mark.parametrize(
    ("bytes_or_words", "start", "kept"),
    [(b"\1\0\2\0", 0, True), ([1, 2], -5, True), (b"\1\0", 0, False), ([1, 70000], 0, False), ([1] * 5, 0, False)],
)
def test_a_voi_lut_stands_for_a_window_where_there_is_none(bytes_or_words, start, kept, image):
    found = window_of(image(WindowCenter=None, WindowWidth=None, VOILUTSequence=[lut(start, bytes_or_words)]))
    assert (found is not None) is kept
    if kept:
        (copied,) = found.VOILUTSequence
        assert (list(copied.LUTDescriptor), copied.LUTData) == ([2, start, 16], b"\x10\0\x20\0")  # of 12 bits in 16


@pytest.mark.parametrize("bits", range(8, 17))
def test_a_voi_lut_keeps_its_curve_in_sixteen_bits(bits, image):
    top = (1 << bits) - 1
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, bits])
    item.add_new("LUTData", "OW", np.array([0, top // 3, top, 65535], "<u2").tobytes())
    (copied,) = window_of(image(WindowCenter=None, WindowWidth=None, VOILUTSequence=[item])).VOILUTSequence
    found = np.frombuffer(copied.LUTData, "<u2") / 65535
    assert found == pytest.approx([0, top // 3 / top, 1, 1], abs=1e-4)  # what is above the bits is as bright as can be


@pytest.mark.parametrize(("rows", "size"), [(1, (300, 1)), (65535, (300, 65535)), (0, None), (None, None)])
def test_a_size_is_one_that_an_image_can_have(rows, size, image):
    assert size_of(image(Rows=rows)) == size
