"""A real disk that fills up and is cleared again: refused below the mark and at its end, taken again by itself.

Where the database is on it, too, people can still look, and retention can still delete.
"""

import os
import shutil
import subprocess
from datetime import timedelta

import pytest
from support.instances import dx, encode, request_for
from support.story import RULE, STUDY, T0, Story, shipment

from triage_agent.builders import build_reserve, read_worklist
from triage_agent.domain.errors import StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Registered
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.retention import Retention, Rule
from triage_agent.intake.spool import Spool
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine, upgrade

MEGABYTE = 1 << 20


@pytest.fixture
def disk(tmp_path):
    """A disk of 8 MB, in memory; only root may mount one, and not in every container."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def receive(receiver, data_set):
    return receiver.receive(encode(data_set), **request_for(data_set), source="PACS").outcome


@pytest.mark.parametrize(("low_water", "left"), [(50, 3 * MEGABYTE), (0, 0)])
def test_what_does_not_fit_is_refused_leaves_nothing_and_is_taken_when_there_is_room(disk, low_water, left):
    spool, worklist = Spool(disk / "spool", low_water), MemoryWorklist()
    receiver = Receiver(spool, worklist, RULE, lambda: T0)
    assert receive(receiver, dx()) is Registered.NEW
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(b"\0" * (free - left))
    refused = dx()
    for _ in range(2):
        with pytest.raises(StorageExhaustedError):
            receive(receiver, refused)
    assert [path.name for path in (disk / "spool" / "tmp").iterdir()] == []
    assert worklist.study(refused.StudyInstanceUID) is None
    filler.unlink()
    assert receive(receiver, refused) is Registered.NEW  # the same process, nobody did anything
    assert sum(1 for _ in spool.instances()) == 2


def fill(disk):
    """Take every block there is; returns what took them."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (MEGABYTE, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    assert os.statvfs(disk).f_bavail == 0
    return filler


class Site:
    """A database on that disk, with one delivered study, whose file has a megabyte."""

    def __init__(self, disk, reserve_mb=0):
        self.settings = Settings.model_validate({"data_dir": disk, "storage": {"reserve_mb": reserve_mb}})
        upgrade(self.settings.database_url)
        self.keep_reserve = build_reserve(self.settings)
        self.open()
        self.story = Story(self.worklist)
        self.story.decided(shipment())
        self.story.send()
        (disk / "spool").mkdir()
        (disk / "spool" / f"{STUDY}.1.dcm").write_bytes(bytes(MEGABYTE))

    def open(self):
        self.engine = open_engine(self.settings.database_url, create=False)
        self.worklist = SqlWorklist(self.engine)

    def seen(self):
        """What `worklist` shows."""
        return [item.study_instance_uid for item in read_worklist(self.settings).items()]

    def retention(self):
        rule, now = Rule(originals=timedelta(0)), self.story.tick()
        return Retention(self.settings.data_dir / "spool", self.worklist, rule, lambda: now)


@pytest.fixture
def site(disk):
    sites = []

    def make(**options):
        sites.append(Site(disk, **options))
        return sites[-1]

    yield make
    for one in sites:
        one.engine.dispose()


@pytest.mark.parametrize("agent", ["runs", "was stopped", "was killed"])
def test_people_can_look_at_the_worklist_of_a_full_disk(site, disk, tmp_path, agent):
    here = site()
    database = disk / "triage.db"
    if agent == "was killed":
        for part in ("", "-wal"):
            shutil.copy(f"{database}{part}", tmp_path / f"kept{part}")
    if agent != "runs":
        here.engine.dispose()
    if agent == "was killed":
        for part in ("", "-wal"):
            shutil.copy(tmp_path / f"kept{part}", f"{database}{part}")
        assert (disk / "triage.db-wal").stat().st_size
    fill(disk)
    for _ in range(2):
        assert here.seen() == [STUDY]


def test_retention_makes_room_on_a_full_disk_with_what_was_kept_for_it(site, disk):
    here = site(reserve_mb=1)
    here.keep_reserve()
    reserve = disk / "triage.db-reserve"
    assert reserve.stat().st_blocks * 512 == MEGABYTE
    here.engine.dispose()  # the agent was stopped, and its log is gone
    filler = fill(disk)
    here.open()
    here.retention().delete_originals()
    assert not (disk / "spool" / f"{STUDY}.1.dcm").exists()
    assert not reserve.exists()
    here.story.worklist = here.worklist
    here.story.receive("1.2.9")
    here.keep_reserve()
    assert not reserve.exists()  # there is room, and not so much
    filler.unlink()
    here.keep_reserve()
    assert reserve.stat().st_size == MEGABYTE


def test_without_anything_kept_a_full_disk_takes_no_transaction(site, disk):
    here = site()
    here.engine.dispose()
    fill(disk)
    here.open()
    with pytest.raises(WorklistUnavailableError, match=r"disk I/O error|full"):
        here.retention().delete_originals()
    assert (disk / "spool" / f"{STUDY}.1.dcm").exists()


def test_a_start_on_a_full_disk_finds_room_too(site, disk):
    here = site(reserve_mb=1)
    here.keep_reserve()
    here.engine.dispose()
    fill(disk)
    upgrade(here.settings.database_url)
    assert not (disk / "triage.db-reserve").exists()
    assert here.seen() == [STUDY]


def test_a_long_log_is_given_back_to_the_disk(site, disk):
    here = site()
    log = disk / "triage.db-wal"
    for number in range(10, 60):
        here.story.receive(f"1.2.{number}")
    with here.engine.connect() as connection:
        limit = connection.exec_driver_sql("PRAGMA journal_size_limit").scalar()
    assert (limit, log.stat().st_size <= limit) == (16 * MEGABYTE, True)
