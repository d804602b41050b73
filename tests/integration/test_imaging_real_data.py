import re
import time
import tracemalloc
from functools import cache

import numpy as np
import pytest
from PIL import Image
from support.data import shared_data

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.load import Displayable, Skipped, load_for_scoring, read_headers
from triage_agent.imaging.quality import reason_to_refuse

pytestmark = pytest.mark.shared

CT, CR = b"1.2.840.10008.5.1.4.1.1.2\x00", b"1.2.840.10008.5.1.4.1.1.1\x00"
SECONDS, MEMORY = 2.0, 64 << 20  # of CPU: the machine may be busy


def wg04(coding, name):
    return shared_data("dicom", "wg04", coding, f"{name}_{'UNC' if coding == 'REF' else coding}")


@cache
def reference():
    return load_for_scoring(wg04("REF", "RG2")).image


@pytest.mark.parametrize("coding", ["RLE", "JPLL", "JLSL", "J2KR"])
def test_a_real_radiograph_looks_the_same_in_every_lossless_coding(coding):
    loaded = load_for_scoring(wg04(coding, "RG2"))
    assert isinstance(loaded, Displayable)
    assert loaded.region.code == "XR_HIP"
    assert np.array_equal(loaded.image, reference())


@pytest.mark.parametrize(
    ("coding", "mean", "worst"), [("JLSN", 0.003, 0.006), ("J2KI", 0.005, 0.1), ("JPLY", 0.005, 0.11)]
)
def test_a_real_radiograph_looks_nearly_the_same_in_every_lossy_coding(coding, mean, worst, capfd):
    difference = np.abs(load_for_scoring(wg04(coding, "RG2")).image - reference())
    capfd.readouterr()  # libjpeg's remark about 12 bits
    assert difference.mean() < mean
    assert difference.max() < worst


@pytest.mark.parametrize("coding", ["REF", "RLE", "JPLL", "JLSL", "JLSN", "J2KR", "J2KI"])
def test_a_ct_slice_is_skipped_in_every_coding(coding):
    assert load_for_scoring(wg04(coding, "CT1")).reason == "CT is not a radiograph"


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("dx_image.dcm", "chest is not musculoskeletal"),
        ("ct_image.dcm", "CT is not a radiograph"),
        ("sr_document.dcm", "a structured report, not an image"),
        ("seg_image_cr_binary.dcm", "a segmentation, not a radiograph"),
    ],
)
def test_other_programs_objects_are_skipped_with_the_reason(file, reason):
    assert load_for_scoring(shared_data("dicom", "highdicom", file)).reason == reason


def test_headers_in_every_character_set_are_read():
    for path in sorted(shared_data("dicom", "charset").glob("*.dcm")):
        header = read_headers(path)
        for element in header:
            str(element)
        if "PatientName" in header:
            assert str(header.PatientName)


def judged(path):
    """What loading does with a file: its class, within the limits of time and memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        outcome = load_for_scoring(path)
    except UnreadableImageError as error:
        outcome = error
    seconds, memory = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (seconds < SECONDS, memory < MEMORY) == (True, True), path.name
    if isinstance(outcome, UnreadableImageError):
        assert outcome.message.isprintable()
    return type(outcome)


def test_defective_files_are_skipped_or_unreadable_and_nothing_else():
    paths = sorted(shared_data("fuzz").rglob("*.dcm"))
    assert len(paths) > 200
    assert {judged(path) for path in paths} <= {Skipped, UnreadableImageError}


def test_defective_radiographs_are_unreadable_or_shown_and_nothing_else(tmp_path):
    """The same defects in what claims to be a radiograph, so that pixels are decoded."""
    copy = tmp_path / "copy.dcm"
    outcomes = []
    for path in sorted(shared_data("fuzz").rglob("*.dcm")):
        content = path.read_bytes().replace(CT, CR)
        copy.write_bytes(re.sub(rb"(\x08\x00\x60\x00CS\x02\x00)CT", rb"\1CR", content))
        outcomes.append(judged(copy))
    assert set(outcomes) <= {Displayable, Skipped, UnreadableImageError}
    assert outcomes.count(UnreadableImageError) > 200  # most are 64 x 64 pixels of one value


def shades(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.float32) / 255


def test_no_real_knee_is_refused():
    valid = sorted(shared_data("knees", "valid").rglob("*.jpg"))
    train = sorted(shared_data("knees", "train").rglob("*.jpg"))[::40]
    assert len(valid) == 826
    assert [path.parent.parent.name for path in valid + train if reason_to_refuse(shades(path))] == []


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_every_real_knee_is_refused_once_its_lower_half_is_lost(fill):
    for path in sorted(shared_data("knees", "valid").rglob("*.jpg"))[::8]:
        image = shades(path)
        image[112:] = fill
        assert "missing" in reason_to_refuse(image)
