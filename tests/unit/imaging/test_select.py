import pytest
from pydicom import Dataset

from triage_agent.domain.quiet import quiet
from triage_agent.imaging.select import reason_to_skip

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
XRF = "1.2.840.10008.5.1.4.1.1.12.2"
SC = "1.2.840.10008.5.1.4.1.1.7"


def header(sop_class=DX, **attributes):
    dataset = Dataset()
    if sop_class:
        dataset.SOPClassUID = sop_class
    with quiet():  # malformed values are what it is about
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    "instance",
    [
        header(CR, Modality="CR"),
        header(DX, Modality="DX"),
        header(CR, Modality="RG"),
        header(DX),
        header(DX, Modality="XYZ"),
        header(XRF, Modality="RF"),
        header(XRF, Modality="RF", NumberOfFrames=1),
        header(DX, Modality="DX", NumberOfFrames=3),
        header(CR, ImageType=["DERIVED", "SECONDARY"]),
        header(DX, ImageType=["ORIGINAL", "PRIMARY", ""]),
        header(DX, PresentationIntentType="FOR PROCESSING"),
    ],
)
def test_radiographs_are_scored(instance):
    assert reason_to_skip(instance) is None


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1.1", "raw detector data (for processing), not a radiograph for presentation"),
        ("1.2.840.10008.5.1.4.1.1.1.2", "mammography is not musculoskeletal"),
        ("1.2.840.10008.5.1.4.1.1.1.2.1", "mammography is not musculoskeletal"),
        ("1.2.840.10008.5.1.4.1.1.1.3", "an intra-oral dental image is not musculoskeletal"),
        ("1.2.840.10008.5.1.4.1.1.2", "CT is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.2.1", "CT is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.3.1", "ultrasound is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.4", "MR is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.4.3", "MR is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.6.1", "ultrasound is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "a waveform, not an image"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "a presentation state, not an image"),
        ("1.2.840.10008.5.1.4.1.1.12.1", "angiography is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.13.1.1", "3D X-ray is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.13.1.3", "breast tomosynthesis is not musculoskeletal"),
        ("1.2.840.10008.5.1.4.1.1.20", "nuclear medicine is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw data, not an image"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "a segmentation, not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.77.1.4", "a photograph or video, not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "a structured report, not an image"),
        ("1.2.840.10008.5.1.4.1.1.88.34", "a structured report, not an image"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "a key object selection, not an image"),
        ("1.2.840.10008.5.1.4.1.1.88.67", "a radiation dose report, not an image"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated PDF, not an image"),
        ("1.2.840.10008.5.1.4.1.1.104.2", "an encapsulated document, not an image"),
        ("1.2.840.10008.5.1.4.1.1.128", "PET is not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.481.1", "a radiotherapy object, not a radiograph"),
        ("1.2.840.10008.5.1.4.1.1.67", "Real World Value Mapping Storage: not a radiograph"),
        ("1.2.3.4", "an object of unknown kind (1.2.3.4), not a radiograph"),
        ("", "an object of unknown kind, not a radiograph"),
        (SC, "a secondary capture, not an original radiograph"),
        (f"{SC}.2", "a secondary capture, not an original radiograph"),
    ],
)
def test_other_objects_are_left_out_with_the_reason(sop_class, reason):
    assert reason_to_skip(header(sop_class)) == reason


@pytest.mark.parametrize(
    ("modality", "reason"),
    [
        ("MG", "mammography is not musculoskeletal"),
        ("mg", "mammography is not musculoskeletal"),
        ("PX", "a panoramic dental image is not musculoskeletal"),
        ("CT", "CT is not a radiograph"),
        ("US", "ultrasound is not a radiograph"),
    ],
)
def test_computed_radiography_plates_are_used_for_other_things_too(modality, reason):
    assert reason_to_skip(header(CR, Modality=modality)) == reason


@pytest.mark.parametrize(
    ("image_type", "reason"),
    [
        (["ORIGINAL", "PRIMARY", "LOCALIZER"], "a localizer, not a diagnostic image"),
        (["DERIVED", "SECONDARY", "localizer"], "a localizer, not a diagnostic image"),
        (["DERIVED", "SECONDARY", "SCREEN SAVE"], "a screen capture, not a radiograph"),
        (["DERIVED", "SECONDARY", "DOSE_REPORT"], "a dose sheet, not a radiograph"),
    ],
)
def test_image_type_gives_disguises_away(image_type, reason):
    assert reason_to_skip(header(DX, ImageType=image_type)) == reason


def test_a_fluoroscopy_run_is_no_still_image():
    assert reason_to_skip(header(XRF, NumberOfFrames=40)) == "a fluoroscopy run of 40 frames, not a still image"


@pytest.mark.parametrize(
    ("modality", "scored"), [("CR", True), ("DX", True), ("RG", True), ("OT", False), ("XA", False)]
)
def test_a_site_may_have_its_digitised_films_scored(modality, scored):
    reason = reason_to_skip(header(SC, Modality=modality), secondary_captures=True)
    assert (reason is None) == scored
