import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.instances import dx, encode, request_for

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Registered
from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import AuditAction, Priority
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.reconcile import Reconciled, reconcile
from triage_agent.intake.spool import Spool
from triage_agent.worklist.memory import MemoryWorklist

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
RULE = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))


class Away(MemoryWorklist):
    """A database that is away."""

    def register(self, received, rule):
        raise WorklistUnavailableError("database is locked")

    def record_audit(self, event):
        raise WorklistUnavailableError("database is locked")


class Recording(MemoryWorklist):
    """Keeps what it was told, too."""

    def __init__(self):
        super().__init__()
        self.registered, self.events = [], []

    def register(self, received, rule):
        self.registered.append(received)
        return super().register(received, rule)

    def record_audit(self, event):
        self.events.append(event)
        super().record_audit(event)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", low_water_percent=0)


@pytest.fixture
def worklist():
    return Recording()


def receive(spool, worklist, data_set, encoded=None, **request):
    receiver = Receiver(spool, worklist, RULE, lambda: T0)
    encoded = encode(data_set) if encoded is None else encoded
    return receiver.receive(encoded, **request_for(data_set) | request, source="PACS")


def test_a_new_instance_is_in_the_spool_and_on_the_worklist(spool, worklist):
    data_set = dx(RequestedProcedurePriority="STAT")
    received = receive(spool, worklist, data_set)
    assert received.outcome is Registered.NEW
    assert (spool.root / received.path).is_file()
    (item,) = worklist.items()
    assert (item.study_instance_uid, item.priority) == (data_set.StudyInstanceUID, Priority.STAT)
    (registered,) = worklist.registered
    assert (registered.path, registered.source, registered.received_at) == (received.path, "PACS", T0)
    assert not registered.path.startswith("/")


def test_an_instance_is_durable_before_it_is_registered(spool, worklist, monkeypatch):
    order = []
    fsync, rename, register = os.fsync, Path.rename, worklist.register
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    monkeypatch.setattr(Path, "rename", lambda self, to: (order.append("rename"), rename(self, to))[1])
    monkeypatch.setattr(worklist, "register", lambda *args: (order.append("register"), register(*args))[1])
    received = receive(spool, worklist, dx())
    folder = (spool.root / received.path).parent
    assert Path(order[0]).parent == spool.root / "tmp"
    assert order[1:3] == ["rename", str(folder)]
    assert set(order[3:-1]) == {str(folder.parent), str(folder.parent.parent), str(spool.root)}
    assert order[-1] == "register"


def test_the_same_bytes_again_do_nothing_twice(spool, worklist):
    data_set = dx()
    first, again = receive(spool, worklist, data_set), receive(spool, worklist, data_set)
    assert (again.outcome, again.path) == (Registered.DUPLICATE, first.path)
    assert len(list(spool.instances())) == 1
    assert worklist.items()[0].instances == 1


def test_other_bytes_under_a_known_uid_go_to_quarantine_and_the_first_copy_stays(spool, worklist):
    data_set = dx()
    first = receive(spool, worklist, data_set)
    before = (spool.root / first.path).read_bytes()
    data_set.PatientID = "P2"
    for _ in range(2):
        second = receive(spool, worklist, data_set)
        assert second.outcome is Registered.CONFLICT
        assert second.path.startswith("quarantine/")
        assert (spool.root / second.path).read_bytes().endswith(encode(data_set))
    assert (spool.root / first.path).read_bytes() == before
    assert list(spool.instances()) == [first.path]


def test_an_invalid_data_set_is_kept_in_quarantine_and_audited(spool, worklist):
    data_set = dx(StudyInstanceUID=None)
    with pytest.raises(InvalidDatasetError, match="Study Instance UID is missing"):
        receive(spool, worklist, data_set)
    assert worklist.items() == []
    (event,) = worklist.events
    assert (event.action, event.actor) == (AuditAction.INSTANCE_QUARANTINED, "PACS")
    assert (spool.root / event.detail["path"]).read_bytes() == encode(data_set)
    note = json.loads((spool.root / event.detail["path"]).with_suffix(".json").read_text())
    assert note["reason"] == "Study Instance UID is missing"
    for text in ("Doe", "P1", "A1"):
        assert text not in str(event.detail)
        assert text not in str(note)


@pytest.mark.parametrize("encoded", [b"", b"\0", b"garbage" * 100])
def test_bytes_that_are_no_data_set_are_invalid(spool, worklist, encoded):
    with pytest.raises(InvalidDatasetError):
        receive(spool, worklist, dx(), encoded)


def test_a_uid_of_the_request_that_is_none_goes_nowhere(spool, worklist):
    with pytest.raises(InvalidDatasetError):
        receive(spool, worklist, dx(), sop_instance_uid="../../etc/passwd")
    (event,) = worklist.events
    assert event.detail["sop_instance_uid"] == "invalid"


def test_while_the_database_is_away_nothing_is_acknowledged_and_the_file_is_found_again(spool, worklist):
    data_set = dx()
    with pytest.raises(WorklistUnavailableError):
        receive(spool, Away(), data_set)
    assert reconcile(spool, worklist, RULE, lambda: T0).recovered == 1
    assert receive(spool, worklist, data_set).outcome is Registered.DUPLICATE


def test_an_invalid_data_set_is_not_answered_for_good_before_that_is_audited(spool):
    with pytest.raises(WorklistUnavailableError):
        receive(spool, Away(), dx(StudyInstanceUID=None))


def test_a_full_disk_registers_nothing(spool, worklist, monkeypatch):
    def full(*_):
        raise StorageExhaustedError("full")

    monkeypatch.setattr(spool, "check_room", full)
    for data_set in (dx(), dx(StudyInstanceUID=None)):
        with pytest.raises(StorageExhaustedError):
            receive(spool, worklist, data_set)
    assert worklist.items() == []


class TestReconcile:
    @pytest.fixture
    def again(self, spool, worklist):
        return lambda: reconcile(spool, worklist, RULE, lambda: T0)

    def test_an_agreeing_spool_is_left_alone(self, spool, worklist, again):
        for _ in range(3):
            receive(spool, worklist, dx())
        assert again() == Reconciled(known=3)

    def test_what_is_known_is_not_opened_and_what_is_not_is_found_between_it(self, spool, worklist, again, monkeypatch):
        for number in range(20):
            receive(spool, worklist if number % 3 else Recording(), dx())
        opened, real = [], Path.open

        def spy(file, *how, **more):
            opened.append(file)
            return real(file, *how, **more)

        monkeypatch.setattr(Path, "open", spy)
        assert again() == Reconciled(known=13, recovered=7)
        assert len({file for file in opened if file.suffix == ".dcm"}) == 7

    def test_a_file_that_the_worklist_does_not_know_is_registered_once(self, spool, worklist, again):
        data_set = dx(RequestedProcedurePriority="HIGH")
        receive(spool, Recording(), data_set)  # the commit of this one was lost
        assert again() == Reconciled(recovered=1)
        assert again() == Reconciled(known=1)
        (item,) = worklist.items()
        assert (item.study_instance_uid, item.priority, item.instances) == (
            data_set.StudyInstanceUID,
            Priority.URGENT,
            1,
        )
        (registered,) = worklist.registered
        assert (registered.source, registered.received_at) == ("PACS", T0)
        (event,) = worklist.events
        assert (event.action, event.study_instance_uid) == (
            AuditAction.INSTANCE_RECOVERED,
            data_set.StudyInstanceUID,
        )

    def test_a_second_copy_with_other_bytes_goes_to_quarantine(self, spool, worklist, again):
        data_set = dx()
        first = receive(spool, worklist, data_set)
        data_set.PatientID = "P2"
        receive(Spool(spool.root, 0), Recording(), data_set)  # killed before it was set aside
        assert again() == Reconciled(known=1, quarantined=1)
        assert again() == Reconciled(known=1)
        assert list(spool.instances()) == [first.path]
        assert worklist.events[-1].action is AuditAction.INSTANCE_QUARANTINED

    @pytest.mark.parametrize(
        "damage", [lambda bytes_: b"", lambda bytes_: bytes_[:200], lambda bytes_: bytes_ + b"\0\0"]
    )
    def test_a_file_that_is_not_what_was_written_goes_to_quarantine(self, spool, worklist, again, damage):
        received = receive(spool, Recording(), dx())
        file = spool.root / received.path
        file.write_bytes(damage(file.read_bytes()))
        assert again() == Reconciled(quarantined=1)
        assert again() == Reconciled()
        assert worklist.items() == []

    def test_unfinished_files_are_removed(self, spool, again):
        (spool.root / "tmp" / "1-dead").write_bytes(b"half")
        assert again() == Reconciled(stale=1)
        assert again() == Reconciled()

    def test_a_file_that_the_disk_does_not_give_is_left_and_stops_nothing(self, spool, worklist, again, monkeypatch):
        first, second = receive(spool, Recording(), dx()), receive(spool, worklist, dx())
        opened = Path.open

        def refuse(file, *args):
            if file == spool.root / first.path:
                raise OSError(5, "Input/output error")
            return opened(file, *args)

        monkeypatch.setattr(Path, "open", refuse)
        assert again() == Reconciled(known=1, left=1)
        assert sorted(spool.instances()) == sorted([first.path, second.path])

    def test_a_full_disk_stops_nothing(self, spool, worklist, again, monkeypatch):
        received = receive(spool, Recording(), dx())
        (spool.root / received.path).write_bytes(b"damaged")

        def full(*_):
            raise StorageExhaustedError("full")

        monkeypatch.setattr(spool, "set_aside", full)
        assert again() == Reconciled(left=1)

    def test_a_known_file_is_not_read_beyond_its_start(self, spool, worklist, again, monkeypatch):
        receive(spool, worklist, dx())
        monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read whole"))
        assert again() == Reconciled(known=1)
