"""The agent with its spool in an object store: a study's whole way, machines beside each other, outages and kills.

TRIAGE_FAULT_TRIALS and TRIAGE_FAULT_STUDIES make the kills many: `TRIAGE_FAULT_TRIALS=15 TRIAGE_FAULT_STUDIES=100`.
"""

import hashlib
import json
import os
import random
import threading
import time
from io import BytesIO

import pytest
from pydicom import dcmread
from support.agent import eventually
from support.objects import store_at
from support.postgres import postgres_cluster, postgres_database
from support.s3 import KEY, SECRET, s3_server
from support.s3_faults import CUT, SLOW_DOWN, faults
from support.xrays import radiograph, send

from triage_agent.worklist import upgrade

TRIALS = int(os.environ.get("TRIAGE_FAULT_TRIALS", "1"))
STUDIES = int(os.environ.get("TRIAGE_FAULT_STUDIES", "8"))

pytestmark = pytest.mark.timeout(300 + 60 * TRIALS + 2 * STUDIES)


@pytest.fixture(scope="module")
def s3():
    with s3_server() as running:
        yield running


@pytest.fixture
def between(s3):
    with faults(s3) as made:
        yield made


@pytest.fixture
def bucket(s3):
    return s3.bucket()


@pytest.fixture
def spool(between, bucket):
    """A site's table."""

    def table(*, stands_in=True, **keys):
        more = "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
        return (
            f'[spool]\nurl = "s3://{bucket}/site"\nendpoint = "{between.endpoint}"\naccess_key = "{KEY}"\n'
            f'secret_key = "{SECRET}"\nacknowledge_when_away = {str(stands_in).lower()}\n{more}'
        )

    return table


@pytest.fixture
def store(s3, bucket):
    """What is in the bucket, past whatever is between."""
    return store_at(s3.endpoint, bucket, prefix="site")


def objects(store):
    return [one.key for one in store.listed("incoming/")]


def paths(agent, uid):
    return sorted(one["path"] for one in agent.study(uid)["instances"])


def test_a_study_goes_its_whole_way_and_its_images_are_in_the_store_alone(
    agent, pacs, calm_bundle, spool, store, s3, tmp_path
):
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, tables=spool(), web="pages = false")
    image = radiograph()
    assert send(running.port, image) == {image.SOPInstanceUID: 0x0000}
    (item,) = running.settled(image.StudyInstanceUID)
    assert item["status"] == "delivered"
    assert objects(store) == paths(running, image.StudyInstanceUID)
    assert not (running.data_dir / "spool").exists()
    assert list((running.data_dir / "write-ahead").glob("incoming/*/*/*")) == []
    status, metrics = running.get("metrics")
    assert status == 200
    assert "triage_object_store_up 1.0" in metrics
    assert "triage_write_ahead_files 0.0" in metrics
    checked = running.cli("check", "--json").stdout
    found = {one["part"]: one for one in json.loads(checked)}
    assert found["object store"]["ok"]
    assert found["spool"]["says"] == "it and the database belong together"
    assert found["write-ahead"]["ok"]
    assert is_restored(running, agent, calm_bundle, spool, s3, tmp_path / "backup") == objects(store)
    assert SECRET not in checked + running.log_text


def is_restored(running, agent, calm_bundle, spool, s3, backup):
    """The keys that a backup of a site puts into another bucket, by another machine's commands."""
    assert running.cli("db", "backup", backup).returncode == 0
    other = s3.bucket()
    again = agent(name="again", start=False, bundle=calm_bundle, pacs_port=1, tables=spool(url=f"s3://{other}"))
    lines = again.config.read_text().splitlines(keepends=True)
    theirs = next(number for number, line in enumerate(lines) if line.startswith('url = "s3:'))
    again.config.write_text("".join(lines[:theirs] + lines[theirs + 1 :]))
    restored = again.cli("db", "restore", backup)
    assert restored.returncode == 0, restored.stderr
    return objects(store_at(s3.endpoint, other, prefix=""))


@pytest.mark.external
def test_a_listener_on_one_machine_and_a_worker_on_another_share_a_store(
    agent, pacs, calm_bundle, spool, between, store
):
    with postgres_cluster() as cluster, postgres_database(cluster.url, "hospital") as url:
        upgrade(url)
        tables = f'[database]\nurl = "{url}"\n{spool()}'
        listener = agent(name="listener", role="listener", bundle=calm_bundle, pacs_port=pacs.port, tables=tables)
        worker = agent(name="worker", role="worker", bundle=calm_bundle, pacs_port=pacs.port, tables=tables)
        first, second = radiograph(seed=1), radiograph(seed=2)
        send(listener.port, first)
        assert worker.settled(first.StudyInstanceUID)[0]["finding"] == "normal"
        between.away()
        assert send(listener.port, second) == {second.SOPInstanceUID: 0x0000}
        eventually(lambda: listener.item(second.StudyInstanceUID)["status"] == "ready")
        assert paths(listener, second.StudyInstanceUID)[0].startswith("held/")
        time.sleep(2)  # the worker would have taken it up by now
        assert listener.item(second.StudyInstanceUID)["status"] == "ready"
        between.back()
        (item,) = worker.settled(second.StudyInstanceUID)
        assert item["finding"] == "normal"
        assert sorted(objects(store)) == sorted(
            paths(worker, first.StudyInstanceUID) + paths(worker, second.StudyInstanceUID)
        )
        listener.close_worklist()
        worker.close_worklist()
        listener.stop()
        worker.stop()


class Trouble(threading.Thread):
    """A store that is away, slow, or cuts connections, now and then."""

    def __init__(self, between, chance):
        super().__init__(daemon=True)
        self._between = between
        self._chance = chance
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            kind = self._chance.choice([None, None, CUT, SLOW_DOWN])
            self._between.fault = lambda method, _path, kind=kind: kind if method != "HEAD" else None
            self.over.wait(self._chance.uniform(0.1, 1.5))
        self._between.back()


def test_nothing_acknowledged_is_lost_when_the_agent_is_killed_and_the_store_fails(
    agent, pacs, calm_bundle, spool, between, store
):
    chance = random.Random(11)
    images = [radiograph(seed=number) for number in range(STUDIES)]
    running = agent(bundle=calm_bundle, pacs_port=pacs.port, tables=spool(), start=False)
    acknowledged = {}

    def send_all():
        for image in images:
            if image.SOPInstanceUID not in acknowledged:
                answers = send(running.port, image)
                if answers.get(image.SOPInstanceUID) == 0x0000:
                    acknowledged[image.SOPInstanceUID] = image

    for _ in range(TRIALS):
        running.start()
        trouble = Trouble(between, chance)
        trouble.start()
        sender = threading.Thread(target=send_all, daemon=True)
        sender.start()
        time.sleep(chance.uniform(0.2, 3.0))  # the moment of the kill is what is tried
        running.kill()
        sender.join(120)
        trouble.over.set()
        trouble.join()
    running.start()
    kept = {uid for image in acknowledged.values() for uid in instances(running, image.StudyInstanceUID)}
    assert acknowledged.keys() <= kept
    eventually(lambda: send_all() or len(acknowledged) == STUDIES, every=0.5)
    running.settled(*(image.StudyInstanceUID for image in images), seconds=120 + 2 * STUDIES)

    def all_there():
        rows = [one for image in images for one in running.study(image.StudyInstanceUID)["instances"]]
        return rows if not any(one["path"].startswith("held/") for one in rows) else None

    rows = eventually(all_there)
    assert sorted(objects(store)) == sorted(one["path"] for one in rows)
    for image, row in zip(images, rows, strict=True):
        assert stored(store, row["path"], running.folder).SOPInstanceUID == image.SOPInstanceUID
    assert not list((running.data_dir / "write-ahead" / "incoming").glob("*/*/*"))


def instances(agent, uid):
    detail = agent.study(uid)
    return {one["sop_instance_uid"] for one in detail["instances"]} if detail else set()


def stored(store, path, folder):
    """The data set of an object, whose name has its digest."""
    file = folder / hashlib.sha256(path.encode()).hexdigest()
    store.fetch(path, file)
    return dcmread(BytesIO(file.read_bytes()), stop_before_pixels=True)
