"""Measures what grows: the time and memory of the worklist's own work against how much there is already."""

import os
import statistics
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.benchreading import exponent
from support.depth import deepen
from support.million import fill
from support.story import LEASE, RULE, SECOND, decision, flag, received, scored

from triage_agent.audit.chain import link
from triage_agent.domain.decision import Artifact, Shipment
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.domain.waits import LongestWaits
from triage_agent.web.site.asking import View
from triage_agent.worklist import SqlAuditLog, SqlReadingList, SqlWorklist, open_engine, upgrade

BODY = b"\0" * 8000  # of a report
_MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Stopwatch:
    """Seconds by the clock of each kind of work, and of this thread's CPU: on SQLite all of it."""

    def __init__(self):
        self._took, self._worked = defaultdict(list), defaultdict(list)

    @contextmanager
    def of(self, name):
        began, at_work = time.perf_counter(), time.thread_time()
        yield
        self._took[name].append(time.perf_counter() - began)
        self._worked[name].append(time.thread_time() - at_work)

    def document(self):
        """{kind of work: milliseconds}."""
        return {name: self._figures(name) for name in self._took}

    def _figures(self, name):
        took, worked = sorted(self._took[name]), self._worked[name]
        return {
            "p50_ms": round(statistics.median(took) * 1000, 3),
            "p95_ms": round(took[int(len(took) * 0.95)] * 1000, 3),
            "cpu_p50_ms": round(statistics.median(worked) * 1000, 3),
        }


# --- studies in the database ------------------------------------------------------------------------------------------
def with_studies(url, studies, rounds):
    """What the agent's work costs where so many studies were before; to be run in a process of its own."""
    upgrade(url)
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    now, began = datetime.now(UTC), time.perf_counter()
    fill(worklist.database, studies, now)
    deepen(worklist.database)
    filled = time.perf_counter() - began
    resident, watch = _resident(), Stopwatch()
    for number in range(rounds):
        _life(worklist, watch, number, now + number * timedelta(seconds=60))
    _questions(worklist, watch, rounds, now)
    found = {
        "studies": studies,
        "fill_s": round(filled, 1),
        "work": watch.document(),
        "resident_mb": round(_resident(), 1),
        "resident_before_work_mb": round(resident, 1),
    }
    engine.dispose()
    if url.startswith("sqlite"):
        found["database_mb"] = round(Path(url.removeprefix("sqlite:///")).stat().st_size / _MIB, 1)
    return found


def _life(worklist, watch, number, at):
    """One study from its image to what was delivered, a step a second; its image raises it."""
    study, image = f"1.2.3.{number}", f"1.2.3.{number}.1"
    header = {"accession_number": f"N{number}", "patient_id": f"N{number}", "patient_name": f"New{number}^One"}
    with watch.of("receive"):
        worklist.register(received(study, image, at, **header), RULE)
    with watch.of("claim an image"):
        (claimed,) = worklist.claim_images("w", at + SECOND, LEASE, 8)
    assert claimed.study_instance_uid == study
    told = Shipment(
        artifact=Artifact(kind=ArtifactKind.HL7_ORU, uid=f"{study}.8", body=BODY, summary=""), destination="ris"
    )
    with watch.of("raise"):
        assert worklist.raise_flag(flag(study, 1, image, at + SECOND), [told], at + SECOND, scored(image, 0.95))
    done = at + RULE.quiet + SECOND
    with watch.of("complete"):
        (view,) = worklist.due_for_completion(done)
        assert worklist.complete(view, "no image for 30 s", done)
    with watch.of("claim a study"):
        assert worklist.claim_study("w", done, LEASE).study_instance_uid == study
    report = Shipment(
        artifact=Artifact(kind=ArtifactKind.SR, uid=f"{study}.7", body=BODY, summary=""), destination="pacs"
    )
    with watch.of("decide"):
        assert worklist.decide(decision(study, 1, done), [], [report], "w", routed=True)
    for destination in ("ris", "pacs"):
        with watch.of("claim a delivery"):
            (delivery,) = worklist.claim_deliveries("s", done, LEASE, 1, [destination])
        with watch.of("note a delivery"):
            worklist.delivery_sent(delivery, done)
    with watch.of("seal the records"):
        assert SqlAuditLog(worklist.database).seal(link, done) > 0


def _questions(worklist, watch, rounds, now):
    """What people, probes and ticks ask."""
    readers = SqlReadingList(worklist.database)
    asked = {
        "the list's page": lambda: readers.page(View().question(now)),
        "the worklist's first 100": lambda: worklist.items(limit=100),
        "one study": lambda: worklist.study("1.2.3.0"),
        "numbers for metrics": worklist.counts,
        "the backlog": lambda: worklist.backlog(now),
        "renew leases": lambda: worklist.renew_leases("w", now, LEASE),
        "expire leases": lambda: worklist.expire_leases(now),
        "look for a clock set back": lambda: worklist.bring_deadlines_near(now, LongestWaits()),
        "look for work": lambda: worklist.claim_images("w", now, LEASE, 8),
        "ready?": worklist.ping,
    }
    for name, ask in asked.items():
        for _ in range(max(5, rounds // 4)):
            with watch.of(name):
                ask()


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / _MIB


def fitted(runs, by, key="p50_ms"):
    """{kind of work: exponent of its time over what `by` counts}."""
    sizes = [run[by] for run in runs]
    return {name: exponent(sizes, [run["work"][name][key] for run in runs]) for name in runs[0]["work"]}
