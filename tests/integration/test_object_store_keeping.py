"""What else is done with a spool in an object store: retention, commitment, rebuilding, backup, reading for scores."""

from datetime import timedelta

import pytest
from support.objects import Machine, dx, large, store_at, utc_now
from support.s3_faults import faults
from support.story import RULE

from triage_agent.domain.commitment import KeptInstance
from triage_agent.domain.errors import DecoderUnavailableError, InvalidDatasetError, UnreadableImageError
from triage_agent.imaging.loader import SpoolLoader
from triage_agent.intake.objects.cache import DamagedError
from triage_agent.intake.objects.copying import copy_in, copy_out
from triage_agent.intake.objects.keeping import ObjectsKept
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.rebuild import rebuild
from triage_agent.object_store import ObjectLoader


@pytest.fixture
def between(s3):
    with faults(s3) as made:
        yield made


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def machine(tmp_path, between, bucket):
    return Machine(tmp_path / "a", store_at(between.endpoint, bucket), stands_in=True)


def kept_instance(machine, received):
    image = machine.worklist._images[received.header.sop_instance_uid].received
    return KeptInstance(
        sop_instance_uid=image.header.sop_instance_uid,
        sop_class_uid=image.header.sop_class_uid,
        path=image.path,
        size=image.size,
        sha256=image.sha256,
    )


def test_originals_that_are_deleted_are_gone_from_the_store_and_from_the_copies(machine, between):
    first, second = machine.receive(large()), machine.receive()
    between.away()
    held = machine.receive()
    between.back()
    machine.patient()
    machine.spool.delete([first.path, held.path])
    assert machine.keys() == [second.path]
    assert machine.ahead.waiting() == []
    assert not (machine.files.cache.root / first.path).exists()


def test_quarantine_is_emptied_by_age(machine):
    with pytest.raises(InvalidDatasetError):
        machine.receive(dx(StudyInstanceUID=None))
    machine.uploader.step()
    assert machine.spool.empty_quarantine(3600, 10) == 0
    assert machine.spool.empty_quarantine(-3600, 10) == 1
    assert machine.keys() == []


def test_what_is_promised_to_be_kept_is_looked_for_in_the_store_itself(machine, between, tmp_path):
    received = machine.receive(large())
    machine.content(received.path)  # there is a copy here, which proves nothing
    instance, look = kept_instance(machine, received), ObjectsKept(machine.files, machine.ahead.root)
    assert look(instance, read_whole=True)
    assert look(instance, read_whole=False)
    between.away()
    with pytest.raises(DecoderUnavailableError):
        look(instance, read_whole=False)
    between.back()
    machine.patient()
    machine.store.put(received.path, memoryview(b"something else"))
    assert not look(instance, read_whole=False)
    machine.store.delete([received.path])
    assert not look(instance, read_whole=True)


def test_what_waits_here_is_kept_and_of_what_waits_elsewhere_nothing_is_said_yet(machine, between, tmp_path, bucket):
    between.away()
    instance = kept_instance(machine, machine.receive())
    assert ObjectsKept(machine.files, machine.ahead.root)(instance, read_whole=True)
    between.back()
    other = Machine(tmp_path / "b", store_at(between.endpoint, bucket), machine.worklist)
    with pytest.raises(DecoderUnavailableError, match="waits"):
        ObjectsKept(other.files, other.ahead.root)(instance, read_whole=True)


def test_an_empty_worklist_is_filled_from_the_store(machine, tmp_path):
    data_set = dx()
    kept = [machine.receive(data_set), machine.receive()]
    data_set.PatientName = "Roe^Jane"
    machine.receive(data_set)  # a conflict
    empty = Machine(tmp_path / "b", machine.store)
    result = rebuild(empty.spool, empty.worklist, RULE, utc_now)
    assert (result.registered, result.conflicts, result.left) == (2, 1, 0)
    assert list(empty.worklist.spool_paths()) == sorted(one.path for one in kept)


def test_a_backup_has_every_object_and_brings_it_back_to_another_store(machine, tmp_path, s3):
    paths = sorted(machine.receive(make()).path for make in (dx, large))
    with pytest.raises(InvalidDatasetError):
        machine.receive(dx(StudyInstanceUID=None))
    machine.uploader.step()
    machine.store.put_new(".id", memoryview(b"a" * 32))
    copied = copy_out(machine.store, tmp_path / "backup")
    assert (copied.new, copied.there) == (4, 0)
    again = copy_out(machine.store, tmp_path / "backup")
    assert (again.new, again.there) == (1, 3)  # a note is written anew
    other = Machine(tmp_path / "b", store_at(s3.endpoint, s3.bucket()))
    assert copy_in(tmp_path / "backup", other.store).new == 4
    assert copy_in(tmp_path / "backup", other.store).there == 2  # what has a digest
    assert other.keys() == machine.keys()
    assert [other.content(path) for path in paths] == [machine.content(path) for path in paths]


class Reading:
    """A loader that says what is in a file."""

    def load(self, path, *, secondary_captures=False, side=None):
        return path.read_bytes()

    def header(self, path):
        return path.read_bytes()[:132]


def test_a_reader_gets_a_file_and_an_error_that_says_whose_fault_it_is(machine, between, tmp_path, bucket):
    root = machine.files.cache.root
    loader = SpoolLoader(ObjectLoader(Reading(), machine.files), root)
    received = machine.receive()
    assert loader.load(root / received.path) == machine.content(received.path)
    assert loader.header(root / received.path).endswith(b"DICM")
    other = Machine(tmp_path / "b", store_at(between.endpoint, bucket), machine.worklist)
    far = SpoolLoader(ObjectLoader(Reading(), other.files), other.files.cache.root)
    between.away()
    held = machine.receive().path
    assert loader.load(root / held)
    with pytest.raises(DecoderUnavailableError):
        far.load(other.files.cache.root / received.path)
    between.back()
    other.patient()
    with pytest.raises(UnreadableImageError, match="waits"):
        far.load(other.files.cache.root / held)
    machine.store.put(received.path, memoryview(b"something else"))
    with pytest.raises(UnreadableImageError, match="other bytes"):
        far.load(other.files.cache.root / received.path)
    machine.store.delete([received.path])
    with pytest.raises(UnreadableImageError, match="no such object"):
        far.load(other.files.cache.root / received.path)


def test_an_object_that_is_not_what_was_put_is_left_by_a_walk_and_told(machine, tmp_path):
    received = machine.receive()
    machine.store.put(received.path, memoryview(b"something else"))
    fresh = Machine(tmp_path / "b", machine.store)
    with pytest.raises(DamagedError):
        fresh.content(received.path)
    assert fresh.walk().left == 1
    assert fresh.keys() == [received.path]


def test_a_copy_in_use_outlives_the_room_that_is_made(tmp_path, between, bucket):
    machine = Machine(tmp_path / "c", store_at(between.endpoint, bucket), cache_bytes=700_000)
    paths = [machine.receive(large()).path for _ in range(6)]
    fresh = Machine(tmp_path / "d", machine.store, cache_bytes=700_000)
    with fresh.files.opened(paths[0]) as file:
        for path in paths[1:]:
            fresh.content(path)
        assert file.stat().st_size > 300_000
    held = [one for one in (fresh.files.cache.root / "incoming").rglob("*.dcm") if one.is_file()]
    assert 1 <= len(held) <= 3
    assert list((fresh.files.cache.root / "tmp").iterdir()) == []


def test_a_restored_copy_keeps_the_times_of_what_was_put(machine, tmp_path):
    path = machine.receive().path
    copy_out(machine.store, tmp_path / "backup")
    put = machine.store.head(path).modified
    assert abs((tmp_path / "backup" / path).stat().st_mtime - put.timestamp()) < timedelta(seconds=2).total_seconds()
    assert split_path(path) == (None, path)
