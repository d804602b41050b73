"""A data set that comes in pieces: where it is meanwhile, and that nothing of it is left when it is not kept."""

import errno
import hashlib
import json
import os

import pytest
from support.instances import DEFLATED, EXPLICIT, dx, encode, header_of, request_for

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake import incoming as module
from triage_agent.intake.header import read_header
from triage_agent.intake.incoming import Incoming, Memory, Request
from triage_agent.intake.part10 import decode_preamble
from triage_agent.intake.spool import Spool

LIMIT = 1000  # bytes that these tests let stay in memory


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY", LIMIT)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", low_water_percent=0)


@pytest.fixture
def memory():
    return Memory(1 << 20)


def coming(spool, memory, data_set, transfer_syntax_uid=EXPLICIT, **request):
    request = request_for(data_set, transfer_syntax_uid) | request
    return Incoming(spool, Request(source="PACS", **request), memory)


def fill(incoming, encoded, piece=300):
    for start in range(0, len(encoded), piece):
        assert incoming.write(memoryview(encoded)[start : start + piece]) == len(encoded[start : start + piece])


def unfinished(spool):
    return list((spool.root / "tmp").iterdir())


def long_one(**values):
    return dx(PatientComments="x" * 5000, **values)


def test_a_short_data_set_makes_no_file_before_it_is_kept(spool, memory):
    data_set = dx()
    incoming = coming(spool, memory, data_set)
    fill(incoming, encode(data_set))
    assert unfinished(spool) == []
    assert (spool.root / incoming.keep(header_of(data_set)).path).read_bytes().endswith(encode(data_set))


@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, DEFLATED])
@pytest.mark.parametrize("piece", [1, 300, 100_000])
def test_a_long_data_set_grows_on_disk_and_is_the_file_that_a_short_one_would_be(
    spool, memory, transfer_syntax_uid, piece
):
    data_set = long_one() if transfer_syntax_uid == EXPLICIT else dx(PatientComments=os.urandom(4000).hex())
    encoded = encode(data_set, transfer_syntax_uid)
    incoming = coming(spool, memory, data_set, transfer_syntax_uid)
    fill(incoming, encoded, piece)
    assert len(unfinished(spool)) == 1
    assert bytes(incoming.view()) == encoded
    stored = incoming.keep(header_of(data_set, transfer_syntax_uid))
    incoming.close()
    assert unfinished(spool) == []
    assert (stored.sha256, stored.size) == (hashlib.sha256(encoded).hexdigest(), len(encoded))
    kept = (spool.root / stored.path).read_bytes()
    assert kept[decode_preamble(memoryview(kept)).data_set_offset :] == encoded
    whole = Spool(spool.root.parent / "whole", 0)
    other = whole.write(encoded, header_of(data_set, transfer_syntax_uid), source="PACS")
    assert (other.path, (whole.root / other.path).read_bytes()) == (stored.path, kept)


def test_a_header_is_read_from_the_file(spool, memory):
    data_set = long_one()
    incoming = coming(spool, memory, data_set)
    fill(incoming, encode(data_set))
    assert read_header(incoming.view(), **request_for(data_set)).patient_id == "P1"


def test_a_long_data_set_that_is_there_already_is_not_written_twice(spool, memory):
    data_set = long_one()
    first, again = coming(spool, memory, data_set), coming(spool, memory, data_set)
    for each in (first, again):
        fill(each, encode(data_set))
    path = first.keep(header_of(data_set)).path
    before = (spool.root / path).stat().st_ino
    assert again.keep(header_of(data_set)) == first.keep(header_of(data_set))
    for each in (first, again):
        each.close()
    assert (spool.root / path).stat().st_ino == before
    assert unfinished(spool) == []


def test_where_many_come_at_once_short_ones_go_to_disk_too_and_give_their_memory_back(spool):
    memory, data_sets = Memory(700), [dx() for _ in range(4)]
    incoming = [coming(spool, memory, data_set) for data_set in data_sets]
    for each, data_set in zip(incoming, data_sets, strict=True):
        fill(each, encode(data_set), 50)
    assert unfinished(spool) != []
    for each, data_set in zip(incoming, data_sets, strict=True):
        each.keep(header_of(data_set))
        each.close()
        each.close()
    assert memory.take(700)
    assert unfinished(spool) == []


@pytest.mark.parametrize(
    ("uid", "suffix", "offset"), [("1.2.3", ".dcm", True), ("../../etc/passwd", ".bin", False)], ids=["UID", "none"]
)
def test_a_long_data_set_is_quarantined_as_it_came_without_being_copied(
    spool, memory, monkeypatch, uid, suffix, offset
):
    data_set, encoded = dx(), b"not a data set" * 500
    incoming = coming(spool, memory, data_set, sop_instance_uid=uid)
    fill(incoming, encoded)
    (inode,) = [file.stat().st_ino for file in unfinished(spool)]
    kept = spool.root / incoming.quarantine("no UIDs", {"source": "PACS"})
    incoming.close()
    note = json.loads(kept.with_suffix(".json").read_text())
    assert (kept.suffix, note["data_set_offset"] > 0, note["reason"]) == (suffix, offset, "no UIDs")
    assert kept.read_bytes()[note["data_set_offset"] :] == encoded
    assert kept.stat().st_ino == inode
    assert unfinished(spool) == []
    assert list(spool.instances()) == []


@pytest.mark.parametrize("when", ["at once", "later", "at the end"])
def test_a_disk_that_fills_up_meanwhile_is_told_of_at_the_end_and_nothing_is_left(spool, memory, monkeypatch, when):
    data_set = long_one()
    encoded = encode(data_set)
    incoming, calls = coming(spool, memory, data_set), []

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writev = os.writev
    if when == "at once":
        monkeypatch.setattr(os, "writev", full)
    elif when == "later":
        monkeypatch.setattr(os, "writev", lambda *a: (calls.append(1), full() if len(calls) > 3 else writev(*a))[1])
    else:
        monkeypatch.setattr(os, "fsync", full)
    fill(incoming, encoded)
    assert incoming.size == len(encoded)
    with pytest.raises(StorageExhaustedError, match="No space left"):
        incoming.keep(header_of(data_set))
    incoming.close()
    assert [path for path in spool.root.rglob("*") if path.is_file()] == []
    assert memory.take(1 << 20)


def test_a_disk_below_its_low_water_mark_ends_a_long_transfer_early(spool, memory, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_EVERY", 2000)
    data_set, looks = long_one(), []

    def room(size=0):
        looks.append(size)
        if len(looks) > 1:
            raise StorageExhaustedError("less than 10 % of the spool's disk would be free")

    monkeypatch.setattr(spool, "check_room", room)
    incoming = coming(spool, memory, data_set)
    fill(incoming, encode(data_set))
    assert unfinished(spool) == []
    for ending in (incoming.view, lambda: incoming.quarantine("why", {}), lambda: incoming.keep(header_of(data_set))):
        with pytest.raises(StorageExhaustedError, match="less than 10 %"):
            ending()


def test_what_is_not_kept_is_gone_when_it_is_closed(spool, memory):
    incoming = coming(spool, memory, dx())
    fill(incoming, bytes(5000))
    assert len(unfinished(spool)) == 1
    assert spool.remove_stale() == 0, "a living writer's file was taken for a dead one's"
    incoming.close()
    assert unfinished(spool) == []
