"""`db backup`, `db restore`, `db rebuild`: nothing that was acknowledged before is lost, and every study is back."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from support.agent import triage_agent
from support.instances import dx, encode, request_for
from support.story import RULE, Story, shipment

from triage_agent.domain.ports import Registered
from triage_agent.domain.vocabulary import AuditAction, Priority, Status
from triage_agent.intake.belonging import Belonging, Bond
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.reconcile import reconcile
from triage_agent.intake.retention import Retention, Rule
from triage_agent.intake.spool import Spool
from triage_agent.worklist import SqlWorklist, open_engine, upgrade

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Site:
    """A data_dir with its configuration, received into without a network."""

    def __init__(self, folder, name):
        self.data_dir = folder / name
        self.config = folder / f"{name}.toml"
        self.config.write_text(f'data_dir = "{self.data_dir}"\n[storage]\nlow_water_percent = 0\n')
        self.now = T0
        self._engine = None

    @property
    def spool(self):
        return Spool(self.data_dir / "spool", low_water_percent=0)

    @property
    def worklist(self):
        if self._engine is None:
            url = f"sqlite:///{self.data_dir}/triage.db"
            upgrade(url)
            self._engine = open_engine(url)
        return SqlWorklist(self._engine)

    def close(self):
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def receiver(self):
        return Receiver(self.spool, self.worklist, RULE, lambda: self.now)

    def receive(self, **elements):
        data_set = dx(**elements)
        self.receiver().receive(encode(data_set), **request_for(data_set), source="PACS")
        return data_set

    def belonging(self):
        return Belonging(self.data_dir / "spool", self.worklist)

    def run(self, *arguments, code=0, **environment):
        done = triage_agent(*arguments, "--config", self.config, **environment)
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture
def site(tmp_path):
    sites = []

    def make(name="here"):
        sites.append(Site(tmp_path, name))
        return sites[-1]

    yield make
    for one in sites:
        one.close()


def instances(site):
    return {
        instance.sop_instance_uid
        for item in site.worklist.items(limit=10_000)
        for instance in site.worklist.study(item.study_instance_uid).instances
    }


@pytest.mark.parametrize("options", [[], ["--link"]])
def test_a_backup_while_receiving_has_whatever_was_acknowledged_before_it_began(site, tmp_path, options):
    here, there = site("here"), site("there")
    acknowledged, ended = [], threading.Event()
    receiver = here.receiver()

    def receive():
        while not ended.wait(0.01):  # a machine that is busy backs up for long, and all of it is looked at afterwards
            data_set = dx()
            receiver.receive(encode(data_set), **request_for(data_set), source="PACS")
            acknowledged.append(data_set.SOPInstanceUID)

    threads = [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        while len(acknowledged) < 20:
            ended.wait(0.01)
        before = set(acknowledged)
        here.run("db", "backup", tmp_path / "backup", *options)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) > len(before)  # it was received into all the while
    there.run("db", "restore", tmp_path / "backup")
    reconcile(there.spool, there.worklist, RULE, lambda: T0)
    found = instances(there)
    assert before <= found <= set(acknowledged)
    assert {there.worklist.digest_of(uid) for uid in before} == {here.worklist.digest_of(uid) for uid in before}
    assert sum(1 for _ in there.spool.instances()) == len(found)


def test_what_is_restored_belongs_together_and_a_mistyped_database_does_not(site, tmp_path):
    here, there = site("here"), site("there")
    here.belonging().settle()
    here.receive()
    here.run("db", "backup", tmp_path / "backup")
    there.run("db", "restore", tmp_path / "backup")
    assert there.belonging().look() is Bond.TOGETHER
    mistyped = {"TRIAGE_AGENT__DATABASE__URL": f"sqlite:///{there.data_dir}/typo.db"}
    assert "the database is empty" in there.run("serve", code=2, **mistyped).stderr
    assert not SqlWorklist(open_engine(mistyped["TRIAGE_AGENT__DATABASE__URL"])).items()
    there.run("db", "rebuild", **mistyped)  # it is meant
    assert "belongs to another database" in there.run("serve", code=2).stderr


def test_a_database_with_studies_gets_another_spool_only_by_name(site):
    here = site()
    here.belonging().settle()
    image = here.receive()
    (here.data_dir / "spool").rename(here.data_dir / "lost")
    assert "--with-studies" in here.run("serve", code=1).stderr
    assert not (here.data_dir / "spool").exists()
    assert "has studies" in here.run("db", "rebuild", code=2).stderr
    here.run("db", "rebuild", "--with-studies")
    assert here.belonging().look() is Bond.TOGETHER
    assert instances(here) == {image.SOPInstanceUID}


def test_a_second_backup_into_the_same_folder_copies_what_is_new(site, tmp_path):
    here, there = site("here"), site("there")
    here.receive()
    assert json.loads(here.run("db", "backup", tmp_path / "backup", "--json").stdout)["copied"] == 1
    here.receive()
    second = json.loads(here.run("db", "backup", tmp_path / "backup", "--json").stdout)
    assert (second["copied"], second["there"]) == (1, 1)
    there.run("db", "restore", tmp_path / "backup")
    assert instances(there) == instances(here)


def test_a_backup_lets_go_of_what_retention_has_deleted_where_that_is_asked_for(site, tmp_path):
    here = site()
    study = here.receive().StudyInstanceUID
    story = Story(here.worklist)
    story.now = T0 + RULE.max_wait
    story.complete(study)
    story.claim()
    assert story.decide(shipment(), study=study)
    story.send()
    here.run("db", "backup", tmp_path / "backup")
    Retention(
        here.data_dir / "spool", here.worklist, Rule(originals=timedelta(0)), lambda: story.now
    ).delete_originals()
    kept = json.loads(here.run("db", "backup", tmp_path / "backup", "--json").stdout)
    assert (kept["copied"], kept["pruned"], len(list((tmp_path / "backup").rglob("*.dcm")))) == (0, 0, 1)
    assert json.loads(here.run("db", "backup", tmp_path / "backup", "--prune", "--json").stdout)["pruned"] == 1
    assert list((tmp_path / "backup").rglob("*.dcm")) == []


def test_a_backup_is_nothing_that_the_world_can_read(site, tmp_path):
    here = site()
    here.receive()
    here.run("db", "backup", tmp_path / "backup")
    made = list((tmp_path / "backup").rglob("*"))
    assert len(made) > 3
    assert [path.name for path in made if path.stat().st_mode & 0o007] == []


def test_a_restore_puts_nothing_over_what_is_there(site, tmp_path):
    here = site()
    here.receive()
    here.run("db", "backup", tmp_path / "backup")
    done = here.run("db", "restore", tmp_path / "backup", code=2)
    assert "is in use" in done.stderr


def test_a_backup_goes_not_into_the_spool_itself(site):
    here = site()
    here.receive()
    assert "in the spool itself" in here.run("db", "backup", here.data_dir / "spool" / "backup", code=2).stderr


def test_a_database_with_studies_is_not_rebuilt(site):
    here = site()
    here.receive()
    assert "has studies" in here.run("db", "rebuild", code=2).stderr


def test_an_empty_database_is_filled_from_the_spool_with_every_study_as_it_came(site):
    here = site()
    first = here.receive(PatientName="Doe^Jane", RequestedProcedurePriority="STAT")
    conflict = here.receive(SOPInstanceUID=first.SOPInstanceUID)  # another study's, other bytes
    here.receive()
    written = datetime.now(UTC)
    before = {item.study_instance_uid: item for item in here.worklist.items()}
    here.close()
    for file in here.data_dir.glob("triage.db*"):
        file.unlink()
    done = here.run("db", "rebuild", "--json")
    assert "have the RIS send its open orders, and merges, again" in done.stderr.replace("\n", " ")
    said = json.loads(done.stdout)
    assert said == {"registered": 2, "conflicts": 1, "quarantined": 0, "left": 0}
    after = {item.study_instance_uid: item for item in here.worklist.items()}
    assert after.keys() == before.keys()
    stat = after[first.StudyInstanceUID]
    assert (stat.priority, stat.patient_name, stat.status) == (Priority.STAT, "Doe^Jane", Status.RECEIVING)
    assert abs(stat.received_at - written) < timedelta(minutes=5)
    lost = after[conflict.StudyInstanceUID]
    assert (lost.status, lost.status_reason) == (
        Status.NEEDS_HUMAN,
        before[conflict.StudyInstanceUID].status_reason,
    )
    again = reconcile(here.spool, here.worklist, RULE, lambda: T0)
    assert (again.known, again.recovered, again.quarantined) == (2, 0, 0)


def test_a_rebuilt_study_is_completed_and_decided_again(site):
    here = site()
    image = here.receive()
    here.close()
    for file in here.data_dir.glob("triage.db*"):
        file.unlink()
    here.run("db", "rebuild")
    story = Story(here.worklist)
    story.now = datetime.now(UTC) + RULE.max_wait
    study = image.StudyInstanceUID
    assert story.actions(study) == [AuditAction.INSTANCE_RECEIVED, AuditAction.INSTANCE_RECOVERED]
    story.complete(study)
    story.claim()
    assert story.decide(shipment(), study=study)
    receiver = here.receiver()
    assert receiver.receive(encode(image), **request_for(image), source="PACS").outcome is Registered.DUPLICATE
