"""What a backup brings back, and files that nobody knows, however long: deleted again, and read in pieces."""

import hashlib
import os
import shutil
import tracemalloc

import numpy as np
import pytest
from support.instances import dx, encode, request_for
from support.story import RULE, T0, Story, shipment

from triage_agent.domain.vocabulary import Status
from triage_agent.intake.archive import copy_spool, prune
from triage_agent.intake.reading import digest_of, mapped
from triage_agent.intake.rebuild import rebuild
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.reconcile import Reconciled, reconcile
from triage_agent.intake.retention import Retention, Rule
from triage_agent.intake.spool import Spool
from triage_agent.worklist import MemoryWorklist

MEGABYTE = 1 << 20


class Site(Story):
    """Delivered studies whose files lie in a spool, and retention that deletes them at once."""

    def __init__(self, folder):
        super().__init__(MemoryWorklist())
        self.spool = Spool(folder / "spool", 0)

    def delivered(self, uid):
        data_set = dx()
        receiver = Receiver(self.spool, self.worklist, RULE, self.tick)
        path = receiver.receive(encode(data_set), **request_for(data_set), source="PACS").path
        self.complete(data_set.StudyInstanceUID)
        self.claim()
        assert self.decide(shipment(uid), study=data_set.StudyInstanceUID)
        self.send()
        assert self.status(data_set.StudyInstanceUID) is Status.DELIVERED
        return path

    def delete(self):
        self.tick()
        Retention(
            self.spool.root, self.worklist, Rule(originals=self.now - self.now), lambda: self.now
        ).delete_originals()

    def start(self):
        return reconcile(self.spool, self.worklist, RULE, lambda: self.now)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_deleted_originals_that_a_restore_brings_back_are_deleted_again(site, tmp_path):
    paths = [site.delivered(f"2.25.{number}") for number in (1, 2)]
    copy_spool(site.spool.root, tmp_path / "backup")
    site.delete()
    assert list(site.spool.instances()) == []
    copy_spool(tmp_path / "backup", site.spool.root)
    assert sorted(site.spool.instances()) == sorted(paths)
    assert site.start() == Reconciled(known=2)
    site.delete()
    assert list(site.spool.instances()) == []
    assert site.start() == Reconciled()


def test_a_backup_loses_what_retention_deleted_before_its_database_was_copied_and_nothing_else(site, tmp_path):
    first = site.delivered("2.25.1")
    site.delete()
    between = site.tick()
    second = site.delivered("2.25.2")
    copy = tmp_path / "backup"
    copy_spool(site.spool.root, copy)
    (copy / first).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(copy / second, copy / first)  # of an earlier backup
    site.delete()  # the copy of the database says that it is there
    kept = site.delivered("2.25.3")
    copy_spool(site.spool.root, copy)
    assert prune(copy, site.worklist.deleted_originals(between)) == 1
    assert [(copy / path).exists() for path in (first, second, kept)] == [False, True, True]
    assert not (copy / first).parent.exists()
    assert prune(copy, site.worklist.deleted_originals(between)) == 0


def long_instance():
    """One of 48 MB."""
    data_set = dx()
    data_set.Rows = data_set.Columns = 5000
    data_set.BitsAllocated = 16
    data_set.PixelData = np.random.default_rng(0).bytes(48 * MEGABYTE)
    return data_set


@pytest.mark.parametrize("how", ["start", "rebuild"])
def test_a_long_file_that_nobody_knows_is_not_in_memory_as_a_whole(site, how):
    data_set = long_instance()
    Receiver(site.spool, MemoryWorklist(), RULE, lambda: T0).receive(
        encode(data_set), **request_for(data_set), source="PACS"
    )
    del data_set
    tracemalloc.start()
    try:
        if how == "start":
            assert site.start() == Reconciled(recovered=1)
        else:
            assert rebuild(site.spool, site.worklist, RULE, lambda: T0).registered == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize(("size", "start"), [(0, 0), (10, 10), (3 * MEGABYTE + 7, 4097), (MEGABYTE, 0)])
def test_a_mapped_file_is_what_was_written(tmp_path, size, start):
    whole = os.urandom(size)
    (tmp_path / "file").write_bytes(whole)
    view = mapped(tmp_path / "file", start)
    assert digest_of(view) == hashlib.sha256(whole[start:]).hexdigest()
    assert bytes(view) == whole[start:]  # what was let go is read again
