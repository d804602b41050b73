"""Measures growth: images a second with more and more replicas on Ray, or workers on Postgres, at a fixed model time.

The model sleeps (`support.sleeping`), so that the machine's cores are left to all the rest: what is measured is what
handing over, claiming, decoding and committing cost, and whether they stand in each other's way.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid
from sqlalchemy import text
from support import sleeping
from support.agent import eventually
from support.instances import dx, encode, request_for, write_part10
from support.ports import free_port
from support.raycluster import descendants, title

from triage_agent.domain.errors import TriageError
from triage_agent.domain.study import CompletenessRule, ReceivedInstance
from triage_agent.intake.header import read_header
from triage_agent.models.cluster.plan import Model
from triage_agent.models.cluster.scorer import cluster_scorer
from triage_agent.models.cluster.wire import State
from triage_agent.settings import load_settings
from triage_agent.spooling import build_belonging
from triage_agent.worklist import SqlWorklist, open_engine, upgrade

MODEL_SECONDS = 0.05
SIDE = 448  # of a display image that is handed to a replica
BATCH = 8
IMAGES = 4  # a study
_ASKING = 2  # loops a replica, each with a batch: work for a replica is there before it has ended what it does
_WARM_SECONDS = 3.0  # connections, caches; and no replica is idle at the beginning or the end of what is measured
_GATE = "gate"
_DECODER = "imaging.isolated.child"
_WARM = 100  # studies a worker at most, before each has had one
_STEADY = (0.05, 0.9)  # of the studies: before it not all workers have begun, after it some have nothing left
_LOOPS = 4  # of a worker, each of which may take a study before others have seen one
_WARM_FROM = 10**9  # numbers of their studies
_LONG = timedelta(hours=1)
_RULE = CompletenessRule(quiet=timedelta(seconds=1), max_wait=timedelta(seconds=2))
_TICKS = os.sysconf("SC_CLK_TCK")
_FIXED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def used_seconds():
    """Processor seconds of this process and all that it started: agents, decoders, replicas, the database."""
    ticks = 0
    for pid in [os.getpid(), *descendants(os.getpid())]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def row(count, images, seconds, used):
    """One measurement."""
    return {
        "count": count,
        "images": images,
        "seconds": round(seconds, 2),
        "images_a_second": round(images / seconds, 2),
        "of_ideal": round(images / seconds * MODEL_SECONDS / count, 3),
        "core_ms_an_image": round(used / images * 1000, 2),
        "cores_used": round(used / seconds, 2),
    }


def compared(rows):
    """The same with each one's share of so many times the first."""
    first = rows[0]["images_a_second"] / rows[0]["count"]
    return [{**one, "of_linear": round(one["images_a_second"] / (first * one["count"]), 3)} for one in rows]


# --- replicas ---------------------------------------------------------------------------------------------------------
def measure_replicas(nodes, plan, seconds, agents=1):
    """Images a second with `plan.replicas`, asked for by the loops of so many agents, a batch at a time."""
    model = Model(ref="embedded", digest="", device="cpu")
    with ExitStack() as stack:
        # They only look, so that what they find is the application whose model sleeps; each has a link of its own.
        plans = [replace(plan, deploys=False, timeout_seconds=60 + agent) for agent in range(agents)]
        scorers = [cluster_scorer(one, model) for one in plans]
        for scorer in scorers:
            stack.callback(scorer.close)
        nodes.deploy(plan, scorers[0]._model, MODEL_SECONDS)
        eventually(lambda: all(scorer.standing().state is State.READY for scorer in scorers))
        images = list(np.random.default_rng(0).random((BATCH, SIDE, SIDE), dtype=np.float32))
        asking = [scorers[number % agents] for number in range(_ASKING * plan.replicas)]
        return {"agents": agents, **row(plan.replicas, *_measured(asking, images, seconds))}


def _measured(asking, images, seconds):
    """Images scored in so many seconds of steady load, how many seconds that were, and those of processors."""
    ended, done, errors = threading.Event(), [], []

    def ask(scorer):
        try:
            while not ended.is_set():
                asked = time.monotonic()
                found = scorer.score(images)
                assert [one.probability for one in found] == [float(image[0, 0]) for image in images]
                done.append((asked, time.monotonic(), len(found)))
        except (TriageError, AssertionError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(scorer,)) for scorer in asking]
    for thread in threads:
        thread.start()
    time.sleep(min(_WARM_SECONDS, seconds))
    used, began = used_seconds(), time.monotonic()
    time.sleep(seconds)
    used, took = used_seconds() - used, time.monotonic() - began
    ended.set()
    for thread in threads:
        thread.join()
    assert errors == []
    # What was under way at the beginning or the end counts for its share of the time: eight answers come at once.
    share = sum(
        count * max(0.0, min(answered, began + took) - max(asked, began)) / (answered - asked)
        for asked, answered, count in done
    )
    return round(share), took, used


# --- workers ----------------------------------------------------------------------------------------------------------
def measure_workers(url, folder, count, seconds):
    """Images a second with so many worker processes on one database: claimed, decoded, scored, decided, committed.

    Studies are complete and no result is sent: reports and routes have a benchmark of their own.
    """
    upgrade(url)
    studies = max(count, round(count * seconds / MODEL_SECONDS / IMAGES))
    config = _write_config(folder, url)
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    build_belonging(load_settings(config), worklist).settle()
    _fill(worklist, folder / "var" / "spool", studies)
    while worklist.claim_study(_GATE, datetime.now(UTC), _LONG):
        pass  # nobody may begin before all are there
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        ports = [free_port() for _ in range(count)]
        for port in ports:
            process = _start_worker(config, port, folder / f"worker-{port}.log")
            stack.callback(_end, process)
        eventually(lambda: all(_ready(port) for port in ports))
        warm = _warm_up(worklist, folder / "var" / "spool", engine, count)
        used = used_seconds()
        assert worklist.give_back(_GATE, datetime.now(UTC), counted=False) == studies
        eventually(lambda: _decided(engine) == warm + studies, seconds=seconds * 20 + 120)
        used = used_seconds() - used
        images, took = _steady(engine, warm)
    return row(count, images, took, used * images / (studies * IMAGES))


def _steady(engine, warm):
    """Images scored while all workers had work, and in how many seconds: without the first studies and the last."""
    with engine.begin() as connection:
        at = connection.execute(text("SELECT decided_at FROM studies ORDER BY decided_at")).scalars().all()[warm:]
    first, last = (round(share * (len(at) - 1)) for share in _STEADY)
    return (last - first) * IMAGES, (at[last] - at[first]).total_seconds()


def _warm_up(worklist, spool, engine, workers):
    """Studies until every worker has a decoder process, a model that was asked and connections; how many it took."""
    done = 0
    while len({_parent(pid) for pid in descendants(os.getpid()) if _DECODER in title(pid)}) < workers:
        assert done < _WARM * workers, "workers without a decoder"
        _fill(worklist, spool, _LOOPS * workers, first=_WARM_FROM + done)
        done += _LOOPS * workers
        eventually(lambda now=done: _decided(engine) == now, seconds=60)
    return done


def _parent(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return None


def _write_config(folder, url):
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "agent.toml"
    config.write_text(
        f'data_dir = "{folder}/var"\n[database]\nurl = "{url}"\n[worker]\npoll_seconds = 5\nlease_seconds = 60\n'
        f"[storage]\nlow_water_percent = 0.1\n[model]\nbatch = {BATCH}\n[audit]\nanchor_minutes = 0\n"
    )
    return config


def _start_worker(config, port, log):
    repository = Path(__file__).parents[2]
    paths = os.pathsep.join([str(repository), str(repository / "tests")])
    command = [sys.executable, sleeping.__file__, str(MODEL_SECONDS), "serve", "--role", "worker"]
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, "--config", str(config)],
            stdout=out,
            stderr=out,
            env=os.environ | _FIXED | {"PYTHONPATH": paths, "TRIAGE_AGENT__WEB__PORT": str(port)},
        )


def _end(process):
    process.terminate()
    process.wait(60)


def _ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False


def _fill(worklist, spool, studies, first=1):
    """Complete studies of small radiographs, whose file is one."""
    template = _write_template(spool)
    header = read_header(encode(template[0]), **request_for(template[0]))
    began = datetime.now(UTC) - timedelta(minutes=1)
    for number in range(studies):
        study = f"1.2.{first + number}"
        for _ in range(IMAGES):
            uid = generate_uid()
            path = f"{uid}.dcm"
            os.link(template[1], spool / path)
            of_it = _replaced(header, study, str(uid))
            worklist.register(
                ReceivedInstance(
                    header=of_it,
                    path=path,
                    sha256=uid.replace(".", "")[:64].ljust(64, "0"),
                    size=template[1].stat().st_size,
                    source="PACS",
                    received_at=began,
                ),
                _RULE,
            )
    for _ in range(studies):
        views = worklist.due_for_completion(datetime.now(UTC), 1000)
        if not views:
            break
        for view in views:
            worklist.complete(view, "quiet", datetime.now(UTC))  # or a worker has, of those that begin


def _replaced(header, study, uid):
    return replace(header, study_instance_uid=study, series_instance_uid=f"{study}.1", sop_instance_uid=uid)


def _write_template(spool):
    data_set = dx(StudyInstanceUID="1.2.1", BodyPartExamined="KNEE")
    pixels = np.linspace(0, 4095, 256 * 256).reshape(256, 256).astype(np.uint16)
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns, data_set.PixelRepresentation = 256, 256, 0
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelData = pixels.tobytes()
    data_set["PixelData"].VR = "OW"
    spool.mkdir(parents=True, exist_ok=True)
    return data_set, write_part10(spool / "template.dcm", data_set)


def _decided(engine):
    with engine.begin() as connection:
        return connection.execute(text("SELECT count(*) FROM studies WHERE decided_at IS NOT NULL")).scalar_one()


def clean(folder):
    """Room for the next measurement."""
    shutil.rmtree(folder, ignore_errors=True)


def written(path, document):
    """The document, as it is so far."""
    path.write_text(json.dumps(document, indent=2) + "\n")
