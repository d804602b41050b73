"""Reading headers of hostile data sets costs little time and memory, whatever they claim."""

import struct
import time
import tracemalloc

import pytest
from pydicom import dcmread
from support.charsets import NAMES
from support.data import shared_data
from support.instances import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, deflate, dx, encode, request_for
from support.listener import RULE, utc_now
from support.odd_files import nested

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.intake.header import read_header
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist.memory import MemoryWorklist

HANGS = 120.0  # seconds: no measure of speed
MOST = 64 << 20  # bytes beyond the data set itself


def bounded(encoded, syntax=EXPLICIT, request=None):
    """The header or the refusal; fails where that took long or much."""
    request = request or {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sop_instance_uid": "1.3"}
    started = time.monotonic()
    tracemalloc.start()
    try:
        outcome = read_header(memoryview(encoded), syntax, **request)
    except InvalidDatasetError as error:
        outcome = error
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert time.monotonic() - started < HANGS
    assert peak < MOST
    return outcome


def own(**elements):
    return dx(**{"StudyInstanceUID": "1.2", "SOPInstanceUID": "1.3", "SeriesInstanceUID": "1.4"} | elements)


def long_element(group, number, vr, length):
    return struct.pack("<HH2sHI", group, number, vr, 0, length)


@pytest.mark.parametrize("levels", [10_000, 60_000])
def test_sequences_of_any_depth_before_and_behind_the_identifiers(levels):
    assert bounded(encode(own()) + nested(levels)).study_instance_uid == "1.2"
    assert isinstance(bounded(nested(levels) + encode(own())), InvalidDatasetError)


@pytest.mark.parametrize("length", [0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
@pytest.mark.parametrize("vr", [b"OB", b"UN", b"SQ", b"UT"])
def test_lengths_of_gigabytes_that_are_not_there(length, vr):
    assert bounded(encode(own()) + long_element(0x0041, 1, vr, length) + bytes(64)).patient_id == "P1"
    assert isinstance(bounded(long_element(0x0003, 1, vr, length) + encode(own())), InvalidDatasetError)


def test_a_deflated_bomb_is_inflated_no_further_than_a_header_can_reach():
    bomb = deflate(encode(own()) + long_element(0x7FE0, 0x10, b"OW", 100 << 20) + bytes(100 << 20))
    assert bounded(bomb, DEFLATED).study_instance_uid == "1.2"
    assert isinstance(bounded(deflate(bytes(100 << 20)), DEFLATED), InvalidDatasetError)


@pytest.mark.parametrize(
    "escapes", [b"\x1b$B" * 100_000, b"\x1b(B\x1b$B" * 50_000, b"\x1b" * 60_000, b"=\x1b$)C^" * 9000]
)
def test_a_name_of_nothing_but_escape_sequences(escapes):
    name = struct.pack("<HH2sHI", 0x0010, 0x0010, b"UT", 0, len(escapes)) + escapes
    sets = struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", 34) + b"ISO 2022 IR 87\\ISO 2022 IR 149\\    "[:34]
    head = encode(
        dx(SOPInstanceUID="1.3", PatientName=None, PatientID=None, StudyInstanceUID=None, SeriesInstanceUID=None)
    )
    tail = struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", 4) + b"1.2\0"
    header = bounded(sets + head + name + tail)
    assert len(header.patient_name) <= 256


def test_hundreds_of_thousands_of_empty_elements_are_not_all_looked_at():
    assert isinstance(bounded(struct.pack("<HH2sH", 0x0003, 1, b"LO", 0) * 400_000), InvalidDatasetError)


@pytest.mark.shared
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_every_hostile_and_every_foreign_file_as_raw_bytes_in_every_syntax(syntax):
    for part in (("fuzz",), ("dicom", "charset")):
        for path in sorted(one for one in shared_data(*part).rglob("*.dcm")):
            whole = path.read_bytes()
            bounded(whole, syntax)
            bounded(whole[132:], syntax)


@pytest.mark.shared
def test_files_in_every_character_set_are_kept_byte_for_byte_and_their_names_read(tmp_path):
    """As the worklist shows them; the report's and the message's names are in test_sr_character_sets."""
    for file, name in NAMES.items():
        path = shared_data("dicom", "charset", file)
        whole, source = path.read_bytes(), dcmread(path, stop_before_pixels=True)
        encoded = whole[decode_preamble(memoryview(whole)).data_set_offset :]
        spool, worklist = Spool(tmp_path / file, low_water_percent=0), MemoryWorklist()
        request = request_for(source, str(source.file_meta.TransferSyntaxUID))
        received = Receiver(spool, worklist, RULE, utc_now).receive(memoryview(encoded), source="PACS", **request)
        kept = (spool.root / received.path).read_bytes()
        assert kept[decode_preamble(memoryview(kept)).data_set_offset :] == encoded
        (item,) = worklist.items()
        assert item.patient_name.rstrip("=") == name


@pytest.mark.parametrize(
    ("declared", "name", "shown"),
    [
        (b"ISO_IR 999", b"Buc^J\xe9r", "Buc^Jér"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 999", b"A^\x1b$)Z\xfb\xf3", None),
        (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
        (b"ISO_IR 192", b"Doe^\xff\xfeJane", "Doe^\ufffd\ufffdJane"),
        (b"ISO_IR 192", "Doe^\u202eenaJ\u2028".encode(), "Doe^enaJ"),
    ],
)
def test_an_unknown_or_broken_character_set_is_shown_with_replacements_and_kept_as_it_is(
    tmp_path, declared, name, shown
):
    def text(group, number, vr, value):
        value += b" " * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    plain = own(PatientName=None)
    parts = encode(plain)
    at = parts.index(struct.pack("<HH2s", 0x0010, 0x0020, b"LO"))
    encoded = text(8, 5, b"CS", declared) + parts[:at] + text(0x10, 0x10, b"PN", name) + parts[at:]
    spool, worklist = Spool(tmp_path, low_water_percent=0), MemoryWorklist()
    received = Receiver(spool, worklist, RULE, utc_now).receive(
        memoryview(encoded), source="PACS", **request_for(plain)
    )
    (item,) = worklist.items()
    assert item.patient_name == shown if shown is not None else item.patient_name.isprintable()
    assert (spool.root / received.path).read_bytes().endswith(encoded)


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/../../x", "/abs", "1.2\0.3", "..", "1.2\\3", "1.2.3\n4"])
def test_no_uid_with_path_characters_reaches_a_file_name(tmp_path, uid):
    spool, worklist = Spool(tmp_path / "spool", low_water_percent=0), MemoryWorklist()
    receiver = Receiver(spool, worklist, RULE, utc_now)
    for study, series, instance in ((uid, "1.4", "1.3"), ("1.2", uid, "1.3"), ("1.2", "1.4", uid)):
        parts = b"".join(
            struct.pack("<HH2sH", group, number, b"UI", len(value.encode())) + value.encode()
            for group, number, value in ((8, 0x16, "1.2"), (8, 0x18, instance), (0x20, 0xD, study), (0x20, 0xE, series))
        )
        request = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sop_instance_uid": instance, "source": uid}
        try:
            receiver.receive(memoryview(parts), transfer_syntax_uid=EXPLICIT, **request)
        except InvalidDatasetError:
            assert series != uid
        else:
            assert series == uid  # it is stood in for, since nothing hangs on it
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path / "spool") for path in files)
    assert all(set(path.name) <= set("0123456789abcdefghijklmnopqrstuvwxyz.-_T:") for path in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spool"]
