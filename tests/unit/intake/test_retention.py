"""Originals go when the site's retention says so, and only of studies that nobody waits for."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.story import RULE, STUDY, Story, received, shipment

from triage_agent.domain.vocabulary import AuditAction, Event, Finding
from triage_agent.intake import retention as module
from triage_agent.intake.retention import Retention, Rule
from triage_agent.worklist import MemoryWorklist

DAYS = timedelta(days=30)


class Archive(Story):
    """Studies whose files lie in a spool."""

    def __init__(self, spool):
        super().__init__(MemoryWorklist())
        self.spool = spool

    def file(self, study=STUDY, name=None):
        return self.spool / (name or f"{study}.1.dcm")

    def delivered(self, study=STUDY, uid="2.25.1"):
        self.decided(shipment(uid), study=study)
        self.send()
        self.file(study).write_bytes(b"DICM")

    def retention(self, worklist=None, **rule):
        return Retention(self.spool, worklist or self.worklist, Rule(**{"originals": DAYS, **rule}), lambda: self.now)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def test_the_files_of_a_delivered_study_go_after_their_days_and_not_before(archive):
    archive.delivered()
    came = archive.worklist.study(STUDY).instances[0].received_at
    archive.now = came + DAYS
    archive.retention().delete_originals()
    assert archive.file().exists()
    archive.now += timedelta(seconds=1)
    archive.retention().delete_originals()
    assert not archive.file().exists()
    assert archive.actions()[-1] is AuditAction.ORIGINALS_DELETED


def test_a_study_that_needs_a_human_keeps_its_originals_for_ever(archive):
    archive.decided(event=Event.FAILED, finding=Finding.NOT_ASSESSED, status_reason="torn")
    archive.file().write_bytes(b"DICM")
    archive.now += 1000 * DAYS
    archive.retention().delete_originals()
    assert archive.file().exists()


def test_nothing_goes_where_originals_are_kept_for_ever(archive):
    archive.delivered()
    archive.now += 1000 * DAYS
    archive.retention(originals=None).delete_originals()
    assert archive.file().exists()


def test_a_tick_deletes_so_many_and_the_next_one_the_rest(archive, monkeypatch):
    monkeypatch.setattr(module, "_STUDIES", 2)
    monkeypatch.setattr(module, "_MOST", 4)
    studies = [f"1.2.{number}" for number in range(10, 15)]
    for study in studies:
        archive.delivered(study, f"2.25.{study[-2:]}")
    archive.now += 2 * DAYS
    archive.retention().delete_originals()
    assert [archive.file(study).exists() for study in studies] == [False] * 4 + [True]
    archive.retention().delete_originals()
    assert not archive.file(studies[-1]).exists()


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["forget_originals", "originals_gone"])
def test_a_crash_at_any_step_leaves_nothing_that_the_next_tick_does_not_mend(archive, step):
    archive.delivered()
    archive.now += 2 * DAYS

    class Crashing:
        def __getattr__(self, name):
            def call(*arguments):
                if name == "originals_gone" == step:
                    raise Crash
                done = getattr(archive.worklist, name)(*arguments)
                if name == step:
                    raise Crash
                return done

            return call

    with pytest.raises(Crash):
        archive.retention(Crashing()).delete_originals()
    assert archive.file().exists() is (step == "forget_originals")
    archive.retention().delete_originals()
    assert not archive.file().exists()
    assert archive.actions().count(AuditAction.ORIGINALS_DELETED) == 1
    assert archive.worklist.originals_past(archive.now, 1) == []


def test_a_file_that_the_disk_keeps_is_tried_again_and_hinders_no_other_study(archive, monkeypatch):
    archive.delivered("1.2.1", "2.25.1")
    archive.delivered("1.2.2", "2.25.2")
    archive.now += 2 * DAYS
    unlink = Path.unlink

    def refuse(path, **options):
        if path == archive.file("1.2.1"):
            raise PermissionError(1, "not permitted")
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        archive.retention().delete_originals()
    assert (archive.file("1.2.1").exists(), archive.file("1.2.2").exists()) == (True, False)
    archive.retention().delete_originals()
    assert not archive.file("1.2.1").exists()


@pytest.mark.parametrize("late", [False, True])
def test_the_empty_folder_of_a_study_goes_and_one_with_a_late_image_stays(archive, late):
    path = "incoming/ab/abcd/one.dcm"
    archive.worklist.register(replace(received(at=archive.tick()), path=path), RULE)
    archive.complete()
    archive.claim()
    archive.decide(shipment())
    archive.send()
    file = archive.file(name=path)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"DICM")
    if late:
        file.with_name("late.dcm").write_bytes(b"DICM")
    archive.now += 2 * DAYS
    archive.retention().delete_originals()
    assert (file.exists(), file.parent.exists()) == (False, late)
    assert archive.spool.exists()


def quarantined(spool, name="ab.bin"):
    file = spool / "quarantine" / name[:2] / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"torn")
    file.with_suffix(".json").write_text("{}")
    return file


def test_the_quarantine_is_emptied_after_days_of_its_own_with_its_notes(archive, monkeypatch):
    file = quarantined(archive.spool)
    keeper = archive.retention(quarantine=DAYS)
    keeper.empty_quarantine()
    assert file.exists()
    later = file.stat().st_ctime + DAYS.total_seconds() + 1
    monkeypatch.setattr(module.time, "time", lambda: later)
    keeper.empty_quarantine()
    assert list(file.parent.iterdir()) == []
    assert archive.worklist._audit[-1].detail == {"quarantined": 1}


def test_the_quarantine_stays_unless_the_site_says_otherwise(archive, monkeypatch):
    file = quarantined(archive.spool)
    later = 2 * file.stat().st_ctime
    monkeypatch.setattr(module.time, "time", lambda: later)
    archive.retention().empty_quarantine()
    assert file.exists()
    archive.retention(quarantine=DAYS).empty_quarantine()
    assert not file.exists()
    archive.retention(quarantine=DAYS).empty_quarantine()  # nothing there: nothing said
    assert len(archive.worklist._audit) == 1
