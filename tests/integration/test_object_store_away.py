"""While the object store is away a machine may stand in for it; what it holds gets there, once."""

import os
from datetime import timedelta

import pytest
from support.objects import Machine, dx, large, store_at, utc_now
from support.s3_faults import CUT, faults

from triage_agent.domain.errors import ConfigurationError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Registered
from triage_agent.intake.belonging import NAME, Belonging, Bond
from triage_agent.intake.objects.home import ObjectHome
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import StoreAwayError
from triage_agent.worklist import MemoryWorklist


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def between(s3):
    with faults(s3) as made:
        yield made


@pytest.fixture
def site(tmp_path, between, bucket):
    """Makes machines of a site with one worklist."""
    worklist = MemoryWorklist()

    def make(name="a", **how):
        store = store_at(between.endpoint, bucket)
        return Machine(tmp_path / name, store, how.pop("worklist", worklist), **{"stands_in": True, **how})

    return make


@pytest.mark.parametrize("make", [dx, large], ids=["in memory", "through a file"])
def test_what_came_while_the_store_was_away_is_read_here_and_brought_when_it_is_back(site, between, make):
    machine = site()
    between.away()
    received = machine.receive(make())
    (held,) = machine.ahead.waiting()
    assert received.outcome is Registered.NEW
    assert received.path == machine.ahead.path_of(held.key)
    kept = held.file.read_bytes()
    assert machine.content(received.path) == kept
    machine.uploader.step()
    assert machine.uploader.waiting[0] == 1
    between.back()
    machine.patient()
    machine.uploader.step()
    assert machine.keys() == [held.key] == list(machine.worklist.spool_paths())
    assert machine.ahead.waiting() == []
    other = site("b")
    assert other.content(held.key) == kept
    assert other.content(received.path) == kept  # whoever was told the path before it was moved


def test_without_leave_to_stand_in_it_is_refused_and_nothing_stays(site, between):
    machine = site(stands_in=False)
    between.away()
    for data_set in (dx(), large()):
        with pytest.raises(StorageExhaustedError):
            machine.receive(data_set)
    assert machine.ahead.waiting() == machine.worklist.items() == []
    assert list((machine.ahead.root / "tmp").iterdir()) == []
    with pytest.raises(StoreAwayError):
        machine.spool.check_ready()
    site(stands_in=True).spool.check_ready()


def test_what_waits_goes_in_the_order_in_which_it_came(site, between):
    machine = site()
    between.away()
    came = []
    for number in range(5):
        held = machine.ahead.root / split_path(machine.receive().path)[1]
        os.utime(held, (1000 + number, 1000 + number))
        came.append(held.name)
    between.back()
    machine.patient()
    between.seen.clear()
    machine.uploader.step()
    assert [path.rpartition("/")[2] for path in between.puts()] == came


def test_an_upload_that_fails_in_the_middle_goes_on_where_it_was(site, between):
    machine = site()
    between.away()
    for _ in range(4):
        machine.receive()
    left = [2]

    def two_then_none(method, _path):
        left[0] -= method == "PUT"
        return CUT if left[0] < 0 else None

    between.fault = two_then_none
    machine.patient()
    machine.uploader.step()
    assert (len(machine.ahead.waiting()), machine.uploader.waiting[0]) == (2, 2)
    between.back()
    machine.patient()
    machine.uploader.step()
    assert machine.ahead.waiting() == []
    assert machine.keys() == list(machine.worklist.spool_paths())


def test_a_database_that_is_away_between_the_object_and_its_row_costs_nothing_but_time(site, between, monkeypatch):
    machine = site()
    between.away()
    machine.receive()
    between.back()
    machine.patient()

    def away(*_):
        raise WorklistUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(machine.worklist, "move_original", away)
        with pytest.raises(WorklistUnavailableError):
            machine.uploader.step()
    assert len(machine.keys()) == len(machine.ahead.waiting()) == 1
    machine.uploader.step()
    assert machine.keys() == list(machine.worklist.spool_paths())
    assert machine.ahead.waiting() == []


def test_a_file_whose_row_was_never_written_waits_for_it_a_while_and_is_then_joined(site, between):
    machine = site()
    between.away()
    machine.receive()
    between.back()
    machine.patient()
    died = site(worklist=MemoryWorklist())
    died.uploader.step()
    assert len(died.ahead.waiting()) == 1  # whoever received it may be about to register it
    assert died.worklist.items() == []
    later = site(worklist=died.worklist, clock=lambda: utc_now() + timedelta(minutes=2))
    later.uploader.step()
    assert later.ahead.waiting() == []
    assert list(later.worklist.spool_paths()) == later.keys()


def test_an_instance_that_the_store_has_already_leaves_nothing_behind_when_it_comes_again(site, between):
    machine = site()
    data_set = dx()
    first = machine.receive(data_set)
    between.away()
    assert machine.receive(data_set).outcome is Registered.DUPLICATE
    between.back()
    machine.patient()
    later = site(clock=lambda: utc_now() + timedelta(minutes=2))
    later.uploader.step()
    assert later.ahead.waiting() == []
    assert later.keys() == [first.path] == list(later.worklist.spool_paths())


def test_a_held_file_that_is_not_what_was_written_stays_and_holds_up_no_other(site, between):
    machine = site()
    between.away()
    first, second = machine.receive(), machine.receive()
    torn = machine.ahead.root / split_path(first.path)[1]
    torn.write_bytes(torn.read_bytes()[:-1])
    between.back()
    machine.patient()
    for _ in range(2):
        machine.uploader.step()
    assert machine.keys() == [split_path(second.path)[1]]
    assert [held.file for held in machine.ahead.waiting()] == [torn]


def test_of_two_processes_of_a_machine_one_uploads(site, between):
    first, second = site(), site()
    assert first.ahead.machine == second.ahead.machine != site("b").ahead.machine
    between.away()
    for _ in range(3):
        first.receive()
    between.back()
    first.patient()
    second.patient()
    between.seen.clear()
    first.uploader.step()
    second.uploader.step()
    assert len(between.puts()) == 3


def test_a_copy_that_was_torn_is_fetched_again(site):
    machine = site()
    path = machine.receive(large()).path
    whole = machine.content(path)
    copy = machine.files.cache.root / path
    copy.write_bytes(whole[:-10])
    again = site()  # another process
    assert again.content(path) == whole


def homes(machine, *, repeats=True):
    repeated = machine.ahead.root if repeats else None
    return Belonging(ObjectHome(machine.store, "s3://bucket", repeated), machine.worklist)


def test_a_store_and_a_database_are_each_others_as_a_folder_would_be(site):
    machine = site()
    assert homes(machine).look() is Bond.NEW
    homes(machine).settle()
    assert homes(site("b")).look() is Bond.TOGETHER
    machine.receive()
    stranger = site("c", worklist=MemoryWorklist())
    with pytest.raises(ConfigurationError, match="empty"):
        homes(stranger).look()
    homes(stranger).mean()
    with pytest.raises(ConfigurationError, match="another database"):
        homes(machine).require()


def test_of_two_machines_that_begin_at_once_both_have_one_id(site):
    first, second = site(), site("b")
    one = ObjectHome(first.store, "s3://bucket", None)
    assert one.mark("a" * 32) == ObjectHome(second.store, "s3://bucket", None).mark("b" * 32) == "a" * 32
    first.store.put(NAME, memoryview(b"torn"))
    assert one.mark("c" * 32) == "c" * 32 == one.read_id()


def test_a_machine_that_has_received_before_begins_again_while_the_store_is_away(site, between):
    machine = site()
    homes(machine).settle()
    machine.receive()
    between.away()
    again = site(worklist=machine.worklist)
    homes(again).settle()
    again.uploader.begin()  # the walk is put off
    held = again.receive()
    assert held.outcome is Registered.NEW
    with pytest.raises(StoreAwayError):
        homes(site("b", worklist=machine.worklist), repeats=False).look()
    between.back()
    again.patient()
    again.uploader.step()
    assert sorted(again.keys()) == list(machine.worklist.spool_paths())


def test_reading_what_only_another_machine_has_says_so(site, between):
    machine = site()
    between.away()
    path = machine.receive().path
    between.back()
    with pytest.raises(FileNotFoundError):
        site("b").content(path)
