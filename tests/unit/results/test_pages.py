"""The summary page as a secondary capture and as a PDF."""

from dataclasses import replace

import numpy as np
import pytest
from support.saying import pdf_of, read, stands_on, words_on

from triage_agent.domain.vocabulary import Event, Finding
from triage_agent.results.encapsulated_pdf import build_encapsulated_pdf
from triage_agent.results.page import BOLD, REGULAR, page_of, wrapped
from triage_agent.results.secondary_capture import build_secondary_capture

BUILDERS = {"sc": build_secondary_capture, "pdf": build_encapsulated_pdf}
SAID = [
    "Preliminary. Made by a machine. Not a diagnosis.",
    "Finding: Abnormal (XR_KNEE)",
    "Probability of abnormality: 0.91 (threshold 0.5)",
    "Priority: urgent, by rule abnormal",
    "ACR category: 2",
    "Algorithm: triage-agent 9.8.7 with bundle embedded 1.2 (0f0f0f0f0f0f)",
    "Study: 1.2.3.4",
    "Two of two.",
]
PATIENT = ["Lind", "Eva", "P1", "19700203"]


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


@pytest.fixture(scope="module")
def capture(context):
    return read(build_secondary_capture(context()))


def text_on(data_set):
    """What people read on it."""
    return words_on(pdf_of(data_set)) if "EncapsulatedDocument" in data_set else data_set.ImageComments


def test_a_secondary_capture_is_an_8_bit_grey_image_in_a_series_of_its_own(capture):
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (capture.Modality, capture.ConversionType, capture.ImageType) == ("OT", "SYN", ["DERIVED", "SECONDARY"])
    assert (capture.PhotometricInterpretation, capture.BitsAllocated, capture.SamplesPerPixel) == ("MONOCHROME2", 8, 1)
    assert capture.pixel_array.shape == (capture.Rows, capture.Columns)
    assert capture.Columns == 800
    assert capture.SeriesInstanceUID != "1.2.3.4.1"


@pytest.mark.parametrize("line", SAID)
def test_what_is_drawn_is_what_is_said(line, capture):
    bold = line in SAID[:2]
    assert stands_on(capture.pixel_array, line, BOLD if bold else REGULAR, 21 if bold else 19)


def test_what_is_not_said_is_not_drawn(capture):
    assert not stands_on(capture.pixel_array, "Finding: Normal (XR_KNEE)", BOLD, 21)


def test_a_pdf_has_the_text_that_the_image_has(context, capture):
    document = read(build_encapsulated_pdf(context()))
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert document.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert text_on(document) == " ".join(capture.ImageComments.split())
    assert all(line in text_on(document) for line in SAID)
    assert [one.ReferencedSOPInstanceUID for one in document.SourceInstanceSequence] == ["1.2.3.4.1.1", "1.2.3.4.1.2"]


def test_no_patient_is_named_unless_the_site_asks_for_it(context, build):
    silent, named = read(build(context())), read(build(replace(context(), name_patient=True)))
    assert not [word for word in PATIENT if word in text_on(silent)]
    assert silent.BurnedInAnnotation == "NO"
    assert not [word for word in PATIENT if word not in text_on(named)]
    assert named.BurnedInAnnotation == "YES"


def test_a_study_that_needs_a_human_says_so_before_anything_else_of_it(context, build):
    case = context(event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None, acr_category=None)
    said = text_on(read(build(case)))
    assert "Not assessed by this machine. A human reads it." in said
    assert "Finding: Not assessed" in said
    assert "Probability" not in said


def test_letters_that_the_font_has_not_are_told_apart_as_far_as_it_can(context, decision):
    case = context(result=replace(decision, reasons=("Größe \u1e9e ā 山\n\x07 two\tblanks",)))
    assert page_of(case, case.result)[-1].text == "Größe ? a ? ? two blanks"


def test_a_study_of_very_many_reasons_fits_and_says_that_it_was_cut(context, decision, build):
    many = tuple(f"Reason {number} " + "x" * 900 for number in range(200))
    case = context(result=replace(decision, reasons=many))
    made = read(build(case))
    if made.Modality == "OT":
        assert made.Rows <= 4096
        assert stands_on(made.pixel_array[-200:], "The rest does not fit on this page.", REGULAR, 19)
    else:
        assert "more lines are left out here" in text_on(made)
        assert len(pdf_of(made).pages) > 1


def test_a_page_is_the_same_bytes_each_time(context, build):
    assert build(context()).body == build(context()).body


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [""]),
        ("one two", ["one", "two"]),
        ("a b", ["a b"]),
        ("abcdefgh", ["abcd", "efgh"]),
        ("x abcde f", ["x", "abcd", "e f"]),
    ],
)
def test_text_is_wrapped_between_words_where_it_can_be(text, rows):
    assert wrapped(text, 4, len) == rows


def test_the_page_is_dark_but_for_its_words(capture):
    assert np.median(capture.pixel_array) == 0


def test_a_document_embeds_fonts_that_may_be_passed_on_and_no_other(context):
    """Of the fonts in reportlab's wheel one is under the GPL."""
    pages = pdf_of(read(build_encapsulated_pdf(context()))).pages
    fonts = {str(font.get_object()["/BaseFont"]) for page in pages for font in page["/Resources"]["/Font"].values()}
    assert any("Vera" in font for font in fonts)
    assert {font for font in fonts if "Vera" not in font} <= {"/Helvetica"}  # named by default, and not embedded
