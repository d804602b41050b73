"""Upgrade, the way back, backup and restore, each as the page of operations says it, while a PACS goes on sending."""

import json
import queue
import shutil
import threading
from functools import partial

import pytest
from alembic import command
from pynetdicom import AE
from pynetdicom.presentation import build_context
from sqlalchemy import make_url
from support.agent import eventually, triage_agent
from support.followed import Site, block_with
from support.instances import DX
from support.older import TABLES, Older, unpacked
from support.postgres import postgres_cluster
from support.programs import require_program
from support.xrays import radiograph, send

from triage_agent.worklist import current, migrate, open_engine

SUCCESS = 0x0000


class Pacs:
    """A PACS that sends studies, each until it is acknowledged, whatever is on the other side."""

    def __init__(self, port):
        self.sent = {}  # Study Instance UID: how often it was tried
        self._port = port
        self._wanted = queue.SimpleQueue()
        self._left = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while (image := self._wanted.get()) is not None:
            tries = 1
            while not self._taken(image):
                tries += 1
                if self._ending.wait(0.2):
                    return
            self.sent[image.StudyInstanceUID] = tries

    def begin(self, number=1):
        """Send so many more studies."""
        for _ in range(number):
            self._wanted.put(radiograph(seed=self._left))
            self._left += 1

    def more(self, number=1):
        """Send so many more, and wait until all are acknowledged."""
        self.begin(number)
        eventually(lambda: len(self.sent) == self._left)

    def stop(self):
        """What was acknowledged."""
        self._wanted.put(None)
        self._thread.join(30)
        self._ending.set()
        self._thread.join(30)
        return dict(self.sent)

    def _taken(self, image):
        entity = AE("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
        association = entity.associate(
            "127.0.0.1",
            self._port,
            [build_context(DX, image.file_meta.TransferSyntaxUID)],
            ae_title="TRIAGE",
        )
        if not association.is_established:
            return False
        try:
            return association.send_c_store(image).get("Status") == SUCCESS
        except (RuntimeError, ValueError):
            return False
        finally:
            association.release()


@pytest.fixture
def sending():
    made = []

    def begin(port):
        made.append(Pacs(port))
        return made[-1]

    yield begin
    for one in made:
        one.stop()


def at_revision(url, revision):
    """Take the tables back, as they were at a migration."""
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            config = migrate._config()
            config.attributes["connection"] = connection
            command.downgrade(config, revision)
    finally:
        engine.dispose()


long = pytest.mark.asked("TRIAGE_OPS")  # by `make ops`


def ended(running):
    """Stop it as systemd does, which has more patience than our other tests; its exit code."""
    running.terminate()
    return running.wait(120)


def no_package():
    """For `pip` and `git`: the program that tests run is the clone itself."""


def settled(running, studies):
    return {item["study_instance_uid"]: item for item in running.settled(*studies)}


def test_a_site_of_the_oldest_tables_is_upgraded_while_a_pacs_sends(agent, pacs, calm_bundle, sending, tmp_path):
    """Section "Upgrade", one process on SQLite."""
    running = agent(bundle=calm_bundle, pacs_port=pacs.port)
    old = radiograph(seed=900)
    send(running.port, old)
    (before,) = running.settled(old.StudyInstanceUID)
    assert running.stop() == 0
    running.close_worklist()
    url = f"sqlite:///{running.data_dir}/triage.db"
    at_revision(url, "0001")
    (running.data_dir / "audit-anchors.jsonl").unlink(missing_ok=True)  # then nothing was sealed, nor anchored
    source = sending(running.port)
    source.begin()  # it finds nobody there, and tries again

    def start():
        running.start(wait=False)

    means = {"git": no_package, ".venv/bin/pip": no_package, "systemctl stop": no_package}
    site = Site(running.config, running.data_dir, tmp_path / "backup", {**means, "systemctl start": start})
    site.follow(block_with("Upgrade", "git pull"))
    eventually(running.ready)
    source.more()
    sent = source.stop()
    assert max(sent.values()) > 1, "somebody was sent away and came again"
    assert {item["status"] for item in settled(running, sent).values()} == {"delivered"}
    after = running.item(old.StudyInstanceUID)
    kept = ("status", "finding", "probability", "priority", "revision", "instances", "received_at", "decided_at")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    reports = [one.StudyInstanceUID for one in pacs.objects if one.get("Modality") == "SR"]
    assert sorted(reports) == sorted([old.StudyInstanceUID, *sent]), "the old one is not sent again"
    eventually(lambda: running.cli("audit", "verify").returncode == 0, 30, every=1.0)


class Now:
    """The program as it is, where its history is not here."""

    run = staticmethod(triage_agent)

    def __init__(self, agent):
        self.start = lambda: agent.start(wait=False)


@pytest.fixture
def before(tmp_path):
    """Makes what runs the program of before the last migration for an agent, or the program as it is."""
    program = unpacked(tmp_path / "before")
    return (lambda agent: Older(program, agent)) if program else Now


def listed(program, running):
    """{study: its line}, as that program prints it."""
    done = program.run("worklist", "--json", "--limit", 1000, config=running.config)
    assert done.returncode == 0, done.stderr
    return {item["study_instance_uid"]: item for item in json.loads(done.stdout)}


@long
@pytest.mark.timeout(900)  # the program of before starts cold, several times
def test_the_way_back_keeps_what_came_before_and_since(agent, pacs, calm_bundle, sending, before, tmp_path):
    """Section "Upgrade", the way back, from the version that is to the one before."""
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, start=False)
    # A key that the program of before may not know, and refuses.
    running.config.write_text(running.config.read_text().replace("own_process = false\n", ""))
    older = before(running)
    older.start()
    eventually(running.ready)
    source = sending(running.port)
    source.more()
    means = {"git": no_package, ".venv/bin/pip": no_package, "systemctl stop": partial(ended, running)}
    site = Site(running.config, running.data_dir, tmp_path / "backup", means, run=older.run)
    site.means["systemctl start"] = lambda: running.start(wait=False)
    site.follow(block_with("Upgrade", "git pull"))
    eventually(running.ready)
    source.more()  # of which the backup knows nothing
    since = dict(source.sent)
    settled(running, since)
    assert ended(running) == 0
    running.close_worklist()
    source.begin()  # while nobody is there

    site.follow(block_with("Upgrade", "git checkout"))
    older.start()
    eventually(running.ready)
    source.more()
    sent = source.stop()
    assert sent.keys() > since.keys()

    def all_delivered():
        items = listed(older, running)
        return (
            items
            if items.keys() >= sent.keys() and {one["status"] for one in items.values()} == {"delivered"}
            else None
        )

    items = eventually(all_delivered, every=1.0)
    assert {one["instances"] for one in items.values()} == {1}
    if older.run is not triage_agent:
        assert current(f"sqlite:///{running.data_dir}/triage.db") == TABLES
    assert ended(running) == 0


@long
def test_a_backup_is_restored_on_a_new_machine_and_everything_goes_on(agent, pacs, calm_bundle, sending, tmp_path):
    """Section "Backup and restore", on SQLite: a study that was not sent yet is sent by the new machine."""
    running = agent(bundle=calm_bundle, pacs_port=pacs.port)
    source = sending(running.port)
    source.more()
    settled(running, dict(source.sent))
    pacs.stop()  # from now on reports wait
    waits = radiograph(seed=901)
    send(running.port, waits)
    eventually(lambda: running.item(waits.StudyInstanceUID)["status"] == "decided")
    sent = source.stop()
    backup = block_with("Backup and restore", "install --directory")
    here = Site(running.config, running.data_dir, tmp_path / "backup")
    here.follow(line for line in backup if not line.startswith("triage-agent db restore"))
    running.kill()
    running.close_worklist()
    shutil.rmtree(running.data_dir)  # the machine is lost

    here.follow(line for line in backup if line.startswith("triage-agent db restore"))
    pacs.start()
    running.start()
    everything = {*sent, waits.StudyInstanceUID}
    assert {item["status"] for item in settled(running, everything).values()} == {"delivered"}
    again = sending(running.port)
    again.more()
    settled(running, again.stop())
    assert [one for one in everything if not running.study(one)["instances"]] == []
    incoming = {path.name for path in (running.data_dir / "spool" / "incoming").rglob("*.dcm")}
    assert len(incoming) == len(everything) + len(again.sent)
    eventually(lambda: running.cli("audit", "verify").returncode == 0, 30, every=1.0)


@long
@pytest.mark.external
def test_a_site_with_postgres_and_its_two_roles_is_made_backed_up_lost_and_restored(
    agent, pacs, calm_bundle, sending, tmp_path
):
    """Sections "Postgres from nothing" and "Backup and restore", with the agent as a role that may delete nothing."""
    for program in ("pg_dump", "pg_restore", "createdb", "psql"):
        require_program(program)
    with postgres_cluster() as cluster:
        server = make_url(cluster.url)
        folder = server.query["host"]
        url = server.set(username="triage_agent", database="triage").render_as_string(hide_password=False)
        running = agent(bundle=calm_bundle, pacs_port=pacs.port, start=False, tables=f'[database]\nurl = "{url}"\n')
        site = Site(
            running.config,
            running.data_dir,
            tmp_path / "backup",
            postgres=(folder, "triage"),
            means={
                "runuser -u postgres -- psql --dbname=triage --command='\\password": no_package,  # it asks for none
                "install --owner=triage-agent --group=triage-agent --mode=0600 /dev/null": no_package,  # .pgpass
                "echo 'localhost": no_package,
                "triage-agent check": no_package,  # it asks a PACS, too; its line is asked for below
            },
        )
        site.follow(block_with("Postgres from nothing", "runuser -u postgres -- createdb"))
        site.follow(block_with("Postgres from nothing", "TRIAGE_AGENT__DATABASE__URL"))
        running.start()
        source = sending(running.port)
        source.more()
        acknowledged = dict(source.sent)
        source.begin()  # meanwhile
        site.follow(["install --directory --mode=0700 /backup/triage"])
        site.follow(block_with("Backup and restore", "runuser -u triage-agent -- env HOME"))
        source.more(0)
        sent = source.stop()
        running.kill()
        running.close_worklist()
        shutil.rmtree(running.data_dir)
        site.follow(["runuser -u postgres -- dropdb --force triage"])

        restore = block_with("Backup and restore", "runuser -u postgres -- createdb")
        site.follow(line for line in restore if not line.startswith("triage-agent audit"))
        running.start()
        assert {item["status"] for item in settled(running, acknowledged).values()} == {"delivered"}
        again = sending(running.port)
        again.more()
        settled(running, again.stop())
        checked = running.cli("check").stdout
        (role,) = [line for line in checked.splitlines() if "database role" in line]
        assert "ok" in role, role
        eventually(lambda: running.cli("audit", "verify").returncode == 0, 30, every=1.0)
        assert acknowledged.keys() <= sent.keys()
        running.stop()
        running.close_worklist()
