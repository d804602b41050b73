import copy
import pickle

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.domain.quiet import quiet
from triage_agent.imaging import load as module
from triage_agent.imaging.load import Displayable, Facts, Skipped, load_for_scoring, read_headers
from triage_agent.imaging.region import Region


def test_a_radiograph_is_displayable(radiograph, save, limb):
    pixels = limb()
    dataset = radiograph(
        pixels, BitsStored=12, ImageLaterality="L", ViewPosition="AP", WindowCenter=2048, WindowWidth=4096
    )
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    loaded = load_for_scoring(save(dataset))
    assert isinstance(loaded, Displayable)
    assert loaded.image.dtype == np.float32
    assert loaded.image == pytest.approx(pixels / 4095, abs=1e-6)
    assert loaded.region == Region("XR_KNEE", musculoskeletal=True, source="BodyPartExamined")
    assert loaded.laterality == "L"
    assert loaded.facts == Facts(
        transfer_syntax="JPEG 2000 lossless",
        photometric="MONOCHROME2",
        grey_scale="window",
        rows=160,
        columns=128,
        frame=0,
        frames=1,
        view="AP",
    )


def test_a_radiograph_of_nobody_knows_what_is_displayable(radiograph, save, limb):
    loaded = load_for_scoring(save(radiograph(limb(), BitsStored=12, BodyPartExamined=None)))
    assert isinstance(loaded, Displayable)
    assert loaded.region == Region()


def test_a_chest_is_skipped_with_its_region(radiograph, save, limb):
    loaded = load_for_scoring(save(radiograph(limb(), BodyPartExamined="CHEST")))
    assert loaded == Skipped(
        reason="chest is not musculoskeletal",
        region=Region(None, musculoskeletal=False, source="BodyPartExamined", other="chest"),
        laterality=None,
    )


def test_what_is_skipped_is_not_decoded(radiograph, save, limb, monkeypatch):
    monkeypatch.setattr(module, "decode", lambda _: pytest.fail("decoded"))
    dataset = radiograph(limb(), SOPClassUID="1.2.840.10008.5.1.4.1.1.2", PixelData=b"\x00\x00")
    loaded = load_for_scoring(save(dataset))
    assert loaded.reason == "CT is not a radiograph"
    assert loaded.region.code == "XR_KNEE"


def test_digitised_films_are_scored_where_the_site_says_so(radiograph, save, limb):
    path = save(radiograph(limb(), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="CR", BitsStored=12))
    assert isinstance(load_for_scoring(path), Skipped)
    assert isinstance(load_for_scoring(path, secondary_captures=True), Displayable)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PixelData": None}, "there is no pixel data"),
        ({"Rows": 500}, "truncated"),
        ({"WindowCenter": 99999, "WindowWidth": 10}, "blank"),
        ({"SOPClassUID": None}, "what kind of object"),
    ],
)
def test_what_cannot_be_shown_says_why(radiograph, save, limb, change, reason):
    dataset = radiograph(limb(), BitsStored=12, **change)
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    with pytest.raises(UnreadableImageError, match=reason):
        load_for_scoring(save(dataset))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((200, 200), np.uint16),
        np.full((200, 200), 4095, np.uint16),
        np.random.default_rng(0).integers(0, 4096, (200, 200), np.uint16),
        np.ones((10, 10), np.uint16),
    ],
    ids=["zero", "white", "noise", "tiny"],
)
def test_useless_images_are_unreadable(radiograph, save, pixels):
    with pytest.raises(UnreadableImageError):
        load_for_scoring(save(radiograph(pixels, BitsStored=12)))


def test_headers_have_no_pixels_no_private_and_no_large_values(radiograph, save, limb):
    dataset = radiograph(limb(), PatientName="Doe^Jane", PatientID="1")
    dataset.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "secret")
    dataset.add_new(0x60003000, "OW", bytes(1 << 17))
    header = read_headers(save(dataset))
    assert header.PatientName == "Doe^Jane"
    assert header.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert "PixelData" not in header
    assert 0x60003000 not in header
    assert not [element for element in header if element.tag.is_private]


@pytest.mark.parametrize(
    ("vr", "value", "kept"),
    [
        ("DS", b"0.14300000667572021\\0.143 ", True),
        ("DS", b"", True),
        ("DS", b"0,143 ", False),
        ("IS", b"12\\ 13", True),
        ("IS", b"twelve", False),
        ("DA", b"20260301", True),
        ("DA", b"20260301\\20260302 ", True),
        ("DA", b"1.3.2026", False),
        ("TM", b"093000.5", True),
        ("TM", b"half past", False),
        ("PN", b"anything", True),
    ],
)
def test_numbers_are_numbers_and_dates_are_dates(vr, value, kept):
    dataset = Dataset()
    dataset._dict[Tag(0x00189999)] = RawDataElement(Tag(0x00189999), vr, len(value), value, 0, False, True)  # noqa: FBT003
    with quiet():
        module._sanitize(dataset, 0)
    assert (0x00189999 in dataset) == kept


def test_malformed_values_are_dropped_at_every_level(radiograph, save, limb):
    marker = "12345.6789"
    item = copy.deepcopy(radiograph(limb(8, 8), PixelData=None, PatientWeight=marker))
    item.PatientID = "kept"
    dataset = radiograph(limb(8, 8), PatientSize=marker, RequestAttributesSequence=Sequence([item]))
    path = save(dataset)
    path.write_bytes(path.read_bytes().replace(marker.encode(), b"not number"))
    header = read_headers(path)
    assert "PatientSize" not in header
    assert "PatientWeight" not in header.RequestAttributesSequence[0]
    assert header.RequestAttributesSequence[0].PatientID == "kept"


def test_headers_are_complete_objects_that_travel(radiograph, save, limb):
    header = read_headers(save(radiograph(limb(), PatientName="Müller^Jörg", SpecificCharacterSet="ISO_IR 100")))
    for travelled in (copy.deepcopy(header), pickle.loads(pickle.dumps(header))):  # noqa: S301 - our own bytes
        assert str(travelled.PatientName) == "Müller^Jörg"


@pytest.mark.parametrize("charset", ["ISO_IR 999", "nonsense", "ISO 2022 IR 87\\ISO 2022 IR 999"])
def test_unknown_character_sets_stop_nothing(radiograph, save, limb, charset):
    path = save(radiograph(limb(), BitsStored=12, PatientName="Doe^Jane", SpecificCharacterSet="ISO_IR 100"))
    padded = charset.encode() + b" " * (len(charset) % 2)
    content = path.read_bytes()
    old = b"CS" + (10).to_bytes(2, "little") + b"ISO_IR 100"
    assert old in content
    path.write_bytes(content.replace(old, b"CS" + len(padded).to_bytes(2, "little") + padded))
    assert isinstance(load_for_scoring(path), Displayable)
    assert str(read_headers(path).PatientName) == "Doe^Jane"


def test_a_header_that_breaks_off_keeps_what_came_before(radiograph, save, limb):
    dataset = radiograph(limb(8, 8), PatientID="1", RequestAttributesSequence=Sequence([radiograph(limb(8, 8))]))
    content = save(dataset).read_bytes()
    start = content.find(b"\x40\x00\x75\x02SQ")
    assert start > 0
    path = save(dataset, "broken.dcm")
    path.write_bytes(content[: start + 12] + b"\xff\xff\xff\xff" * 4)
    header = read_headers(path)
    assert header.PatientID == "1"
    assert header.Rows == 8
    with pytest.raises(UnreadableImageError):
        load_for_scoring(path)


def test_a_file_that_is_no_dicom_file_has_no_headers(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("hello")
    with pytest.raises(UnreadableImageError, match="not a DICOM file"):
        read_headers(path)
