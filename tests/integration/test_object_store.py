"""The spool in an object store: an S3 server on loopback, and what can happen between it and us."""

import time

import pytest
from support.instances import dx, encode, request_for
from support.objects import MEGABYTE, Machine, large, store_at
from support.s3_faults import CUT, HANG, PAGE, SHORTEN, SLOW_DOWN, SWALLOW, faults
from support.story import RULE

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError
from triage_agent.domain.ports import Registered
from triage_agent.intake.objects.port import StoreAwayError
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist import MemoryWorklist


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def between(s3):
    with faults(s3) as made:
        yield made


@pytest.fixture
def store(between, bucket):
    return store_at(between.endpoint, bucket)


@pytest.fixture
def machine(tmp_path, store):
    return Machine(tmp_path / "a", store)


@pytest.mark.parametrize("make", [dx, large], ids=["in memory", "through a file"])
def test_what_was_received_is_an_object_under_the_name_of_a_local_file_and_reads_the_same(machine, tmp_path, make):
    data_set = make()
    local = Receiver(Spool(tmp_path / "local", 0), MemoryWorklist(), RULE, machine.clock)
    beside = local.receive(encode(data_set), **request_for(data_set), source="PACS")
    received = machine.receive(data_set)
    assert (received.outcome, received.path) == (Registered.NEW, beside.path)
    assert machine.keys() == [received.path]
    assert machine.content(received.path) == (tmp_path / "local" / received.path).read_bytes()
    assert machine.ahead.waiting() == []


def test_an_object_of_many_parts_comes_back_as_it_was(machine, tmp_path):
    body = bytes(range(256)) * (17 * MEGABYTE // 256)
    assert machine.store.put("incoming/long", memoryview(body), sha256="ab") is True
    assert machine.store.put("incoming/long", memoryview(body), sha256="ab") is False
    machine.store.fetch("incoming/long", tmp_path / "long")
    assert (tmp_path / "long").read_bytes() == body
    assert machine.store.remove_unfinished() == 0


def test_objects_are_listed_in_the_order_in_which_a_folder_is_walked(machine, tmp_path):
    worklist = MemoryWorklist()
    local = Receiver(Spool(tmp_path / "local", 0), worklist, RULE, machine.clock)
    studies = [dx() for _ in range(6)]
    for study in studies:
        for data_set in (study, dx(StudyInstanceUID=study.StudyInstanceUID)):
            local.receive(encode(data_set), **request_for(data_set), source="PACS")
            machine.receive(data_set)
    walked = list(Spool(tmp_path / "local", 0).instances())
    assert list(machine.spool.instances()) == walked == list(machine.worklist.spool_paths())


def test_the_same_instance_again_is_no_second_object(machine):
    data_set = dx()
    assert [machine.receive(data_set).outcome for _ in range(2)] == [Registered.NEW, Registered.DUPLICATE]
    assert len(machine.keys()) == 1


def test_other_bytes_of_an_instance_go_to_quarantine_with_a_note(machine):
    data_set = dx()
    first = machine.receive(data_set)
    data_set.PatientName = "Roe^Jane"
    second = machine.receive(data_set)
    assert second.outcome is Registered.CONFLICT
    assert machine.keys("incoming/") == [first.path]
    assert machine.keys("quarantine/") == sorted([second.path, second.path.replace(".dcm", ".json")])


def test_what_no_study_can_take_is_brought_to_the_stores_quarantine(machine):
    with pytest.raises(InvalidDatasetError):
        machine.receive(dx(StudyInstanceUID=None))
    assert machine.keys() == []
    machine.uploader.step()
    assert sorted(key.rpartition(".")[2] for key in machine.keys("quarantine/")) == ["bin", "json"]
    assert machine.ahead.waiting() == []


@pytest.mark.parametrize("fault", [CUT, SLOW_DOWN], ids=["cut", "SlowDown"])
def test_a_fault_that_passes_costs_a_second_try(machine, between, fault):
    between.first(1, fault)
    received = machine.receive(large())
    assert machine.keys() == [received.path]


@pytest.mark.parametrize("conditions", [True, False], ids=["knows conditions", "knows none"])
@pytest.mark.parametrize("size", [MEGABYTE, 17 * MEGABYTE])
def test_an_object_that_came_out_otherwise_is_not_taken_for_the_image_when_it_is_sent_again(
    machine, between, tmp_path, size, conditions
):
    store, body = machine.store, memoryview(bytes(range(256)) * (size // 256))
    store._conditions = conditions
    for _ in range(2):
        between.fault = lambda method, path: SHORTEN if method == "PUT" and "partNumber=1" not in path else None
        with pytest.raises(StoreAwayError):
            store.put("incoming/one", body, sha256="ab")
    between.back()
    assert store.put("incoming/one", body, sha256="ab") is True
    store.fetch("incoming/one", tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == body
    assert store.put("incoming/one", body, sha256="ab") is False


def test_who_answers_in_the_store_s_place_that_there_is_nothing_is_not_believed(machine, between, tmp_path):
    machine.store.put("incoming/one", memoryview(b"one"), sha256="ab")
    between.fault = lambda _method, _path: PAGE
    with pytest.raises(StoreAwayError):
        machine.store.fetch("incoming/one", tmp_path / "one")
    with pytest.raises(StoreAwayError):
        machine.store.head("incoming/one")
    with pytest.raises(StoreAwayError):
        machine.store.put("incoming/two", memoryview(b"two"), sha256="cd")
    with pytest.raises(StoreAwayError):
        list(machine.store.listed("incoming/"))


def test_a_server_that_lists_no_unfinished_uploads_is_a_store_all_the_same(machine, between):
    between.fault = lambda method, path: (501, "NotImplemented") if method == "GET" and "uploads" in path else None
    with pytest.raises(StoreAwayError):
        machine.store.remove_unfinished()
    assert machine.receive(dx()).outcome is Registered.NEW


@pytest.mark.parametrize("fault", [CUT, SLOW_DOWN, SWALLOW, HANG, (403, "AccessDenied"), (507, "<b>\n")])
def test_an_image_that_the_store_has_not_is_not_acknowledged_and_registered(tmp_path, between, bucket, fault):
    seconds = 2.0 if fault == HANG else 60.0
    machine = Machine(tmp_path / "a", store_at(between.endpoint, bucket, seconds=seconds))
    between.fault = lambda method, _path: fault if method == "PUT" else None
    for data_set in (dx(), large()):
        machine.patient()
        with pytest.raises(StorageExhaustedError) as refused:
            machine.receive(data_set)
        assert "\n" not in str(refused.value)
    assert machine.worklist.items() == []
    assert machine.ahead.waiting() == []
    between.back()
    later = Machine(tmp_path / "b", store_at(between.endpoint, bucket))
    assert later.keys() == []
    assert later.receive(data_set).outcome is Registered.NEW


def test_while_the_store_is_away_nobody_waits_for_it(tmp_path, between, bucket):
    machine = Machine(tmp_path, store_at(between.endpoint, bucket, seconds=1.0))
    between.fault = lambda *_: HANG
    with pytest.raises(StoreAwayError):
        machine.receive()
    came = len(between.seen)
    started = time.monotonic()
    for _ in range(200):
        with pytest.raises(StoreAwayError):
            machine.receive()
    tries = 1 + (time.monotonic() - started) / 0.9  # it is asked again after a second, then ever more seldom
    assert len(between.seen) - came <= 3 * tries


def test_a_bucket_that_is_not_there_is_no_missing_image(tmp_path, s3):
    machine = Machine(tmp_path, store_at(s3.endpoint, "no-such-bucket"))
    with pytest.raises(StoreAwayError, match="NoSuchBucket"):
        machine.store.head("incoming/x")
    machine.patient()
    with pytest.raises(StoreAwayError, match="NoSuchBucket"):
        machine.content("incoming/x")


def test_an_object_that_is_gone_from_a_store_that_is_there_is_missing(machine):
    received = machine.receive()
    machine.spool.delete([received.path])
    with pytest.raises(FileNotFoundError):
        machine.content(received.path)


def test_a_walk_joins_what_nobody_registered_and_opens_nothing_else(machine, between):
    for _ in range(3):
        machine.receive()
    lost = machine.receive()
    before = machine.worklist
    forgetful = Machine(machine.folder, machine.store)
    for path in list(before.spool_paths()):
        if path != lost.path:
            forgetful.worklist.register(_registered(before, path), RULE)
    between.seen.clear()
    found = forgetful.walk()
    assert (found.known, found.recovered, found.left) == (3, 1, 0)
    assert sum(method == "GET" and "incoming" in path and "list-type" not in path for method, path in between.seen) <= 1
    assert forgetful.walk().recovered == 0


def _registered(worklist, path):
    return next(image.received for image in worklist._images.values() if image.received.path == path)
