import hashlib
import json
import os
import threading
from typing import NamedTuple

import pytest
from pydicom import dcmread
from support.instances import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, dx, encode, header_of

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.spool import Spool


class Disk(NamedTuple):
    f_bavail: int
    f_blocks: int
    f_frsize: int


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", low_water_percent=0)


@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_the_data_set_is_kept_byte_for_byte_behind_its_meta_information(spool, transfer_syntax_uid):
    data_set = dx()
    encoded = encode(data_set, transfer_syntax_uid)
    stored = spool.write(encoded, header_of(data_set, transfer_syntax_uid), source="PACS")
    kept = (spool.root / stored.path).read_bytes()
    meta = decode_preamble(memoryview(kept))
    assert kept[meta.data_set_offset :] == encoded
    assert (stored.sha256, stored.size, stored.new) == (hashlib.sha256(encoded).hexdigest(), len(encoded), True)
    assert (meta.sop_class_uid, meta.sop_instance_uid) == (data_set.SOPClassUID, data_set.SOPInstanceUID)
    assert (meta.transfer_syntax_uid, meta.source) == (transfer_syntax_uid, "PACS")
    assert dcmread(spool.root / stored.path).PatientID == "P1"


@pytest.mark.parametrize("source", ["", "A TITLE", "x" * 40, "bell\a", "bäck\\slash"])
def test_any_source_makes_a_file_that_can_be_read(spool, source):
    data_set = dx()
    stored = spool.write(encode(data_set), header_of(data_set), source=source)
    assert len(dcmread(spool.root / stored.path).file_meta.get("SourceApplicationEntityTitle") or "") <= 16


def test_no_text_of_a_data_set_reaches_a_file_name(spool):
    data_set = dx()
    stored = spool.write(encode(data_set), header_of(data_set), source="PACS")
    assert set(stored.path) <= set("0123456789abcdef/-incomg.dcm")
    for text in (data_set.StudyInstanceUID, data_set.SOPInstanceUID, "P1", "Doe"):
        assert text not in stored.path


def test_the_same_bytes_again_are_the_same_file(spool):
    data_set = dx()
    first = spool.write(encode(data_set), header_of(data_set), source="PACS")
    before = (spool.root / first.path).stat()
    again = spool.write(encode(data_set), header_of(data_set), source="CT")
    after = (spool.root / first.path).stat()
    assert (again.path, again.sha256, again.new) == (first.path, first.sha256, False)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_never_overwrite_the_first(spool):
    data_set = dx()
    first = spool.write(encode(data_set), header_of(data_set), source="PACS")
    before = (spool.root / first.path).read_bytes()
    data_set.PatientID = "P2"
    second = spool.write(encode(data_set), header_of(data_set), source="PACS")
    assert second.path != first.path
    assert (spool.root / first.path).read_bytes() == before


def test_many_threads_that_write_the_same_instance_agree(spool):
    data_set = dx()
    written, encoded, header = [], encode(data_set), header_of(data_set)
    threads = [
        threading.Thread(target=lambda: written.append(spool.write(encoded, header, source="PACS").path))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 16
    assert list(spool.instances()) == [written[0]]
    assert list((spool.root / "tmp").iterdir()) == []


def test_below_the_low_water_mark_nothing_is_written(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", low_water_percent=10)
    monkeypatch.setattr(os, "statvfs", lambda _: Disk(f_bavail=99, f_blocks=1000, f_frsize=4096))
    data_set = dx()
    with pytest.raises(StorageExhaustedError, match="less than 10 %"):
        spool.write(encode(data_set), header_of(data_set), source="PACS")
    with pytest.raises(StorageExhaustedError):
        spool.quarantine(b"bytes", "reason", {})
    with pytest.raises(StorageExhaustedError):
        spool.check_room()
    assert list(spool.instances()) == []
    assert spool.free_percent() == pytest.approx(9.9)


def test_an_instance_that_would_cross_the_low_water_mark_is_refused_before_it_is_written(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", low_water_percent=10)
    monkeypatch.setattr(os, "statvfs", lambda _: Disk(f_bavail=101, f_blocks=1000, f_frsize=4096))
    spool.check_room(4096)
    with pytest.raises(StorageExhaustedError):
        spool.check_room(4097)


def test_an_instance_that_is_there_already_needs_no_room(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", low_water_percent=10)
    data_set = dx()
    monkeypatch.setattr(os, "statvfs", lambda _: Disk(f_bavail=900, f_blocks=1000, f_frsize=4096))
    spool.write(encode(data_set), header_of(data_set), source="PACS")
    monkeypatch.setattr(os, "statvfs", lambda _: Disk(f_bavail=1, f_blocks=1000, f_frsize=4096))
    assert not spool.write(encode(data_set), header_of(data_set), source="PACS").new


def test_quarantine_keeps_the_bytes_once_and_says_why(spool):
    paths = {spool.quarantine(b"not a data set", "no UIDs", {"source": "PACS"}) for _ in range(3)}
    (path,) = paths
    kept = spool.root / path
    assert kept.read_bytes() == b"not a data set"
    note = json.loads(kept.with_suffix(".json").read_text())
    assert (note["reason"], note["source"]) == ("no UIDs", "PACS")
    assert len(list(kept.parent.iterdir())) == 2
    assert list(spool.instances()) == []


def test_setting_aside_takes_a_file_out_of_the_spool_with_a_note(spool):
    data_set = dx()
    stored = spool.write(encode(data_set), header_of(data_set), source="PACS")
    before = (spool.root / stored.path).read_bytes()
    kept = spool.root / spool.set_aside(stored.path, "other bytes", {"source": "PACS"})
    assert kept.read_bytes() == before
    assert json.loads(kept.with_suffix(".json").read_text())["reason"] == "other bytes"
    assert list(spool.instances()) == []


def test_only_kept_instances_are_listed(spool):
    data_set = dx()
    stored = spool.write(encode(data_set), header_of(data_set), source="PACS")
    folder = (spool.root / stored.path).parent
    (folder / "README").write_text("")
    (folder / "link.dcm").symlink_to("/etc/passwd")
    (folder / "folder.dcm").mkdir()
    (spool.root / "incoming" / "stray").write_text("")
    assert list(spool.instances()) == [stored.path]


@pytest.mark.parametrize(
    "start", [b"", b"\0" * 200, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\2\0\2\0UI\4\0001.2\0"]
)
def test_a_file_without_its_meta_information_has_none(start):
    assert decode_preamble(memoryview(start)) is None
