"""A real disk that fills up and is cleared again: refused below the mark and at its end, taken again by itself."""

import os
import subprocess

import pytest
from support.instances import dx, encode, request_for
from support.story import RULE, T0

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.domain.ports import Registered
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist import MemoryWorklist

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
