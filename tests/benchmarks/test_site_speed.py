"""How quick every list is at a million studies, on SQLite and on Postgres; into site.json.

`BENCH_STUDIES` is how many (1,000,000). Figures are written, with what is wanted beside them, and not asserted: a
machine that does other things meanwhile would fail them.
"""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from support.million import fill
from support.postgres import postgres_cluster

from triage_agent.domain.reading import ListQuestion, Order
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.web.site.asking import DAYS, View
from triage_agent.worklist import SqlReadingList, SqlWorklist, open_engine, upgrade
from triage_agent.worklist.tables import StudyRow

STUDIES = int(os.environ.get("BENCH_STUDIES", "1000000"))
ROUNDS = 30
WANTED = {"sqlite": 0.1, "postgres": 0.05}  # seconds, p95

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.external)])
def filled(request, tmp_path_factory):
    """(name, worklist) with so many studies."""
    folder = tmp_path_factory.mktemp("million")
    if request.param == "sqlite":
        yield from _filled("sqlite", f"sqlite:///{folder / 'triage.db'}")
        return
    with postgres_cluster() as cluster:
        yield from _filled("postgres", cluster.url)


def _filled(name, url):
    upgrade(url)
    engine = open_engine(url)
    worklist = SqlWorklist(engine)
    fill(worklist.database, STUDIES, datetime.now(UTC))
    yield name, worklist
    engine.dispose()


def questions(readers, database):
    """Every kind of list that the page can ask for, by what it is called in the results."""
    now, whole = datetime.now(UTC), View(days="all")
    views = {"as it opens": View(), "also read ones": View(read=True), "newest first": View(order=Order.NEWEST_FIRST)}
    views |= {f"days {days}": View(days=days) for days in DAYS}
    views |= {f"priority {one.value}": replace(whole, priority=one) for one in Priority}
    views |= {f"status {one.value}": replace(whole, status=one) for one in Status}
    views |= {"a region": replace(whole, region="XR_KNEE"), "a region, a week": View(region="XR_KNEE")}
    views |= {"no such region": replace(whole, region="XR_NONE")}
    views |= {"a region, urgent": replace(whole, region="XR_KNEE", priority=Priority.URGENT)}
    views |= {"newest in a region": replace(whole, region="XR_KNEE", order=Order.NEWEST_FIRST)}
    views |= {"newest that are stat": replace(whole, priority=Priority.STAT, order=Order.NEWEST_FIRST)}
    for text in ("RX000123-0", "P00042", "akesson7", "muller", "k", "nobody"):
        views[f"search {text}"] = replace(whole, text=text)
    for name, view in list(
        {"next page": whole, "next page of a week": View(), "next newest": views["newest first"]}.items()
    ):
        views[name] = replace(view, after=readers.page(view.question(now)).studies[-1].place)
    for order in Order:
        views[f"deep page, {order.value}"] = replace(whole, order=order, after=_middle(readers, database))
    asked = {name: view.question(now) for name, view in views.items()}
    return asked | {"those that need a human": ListQuestion(status=Status.NEEDS_HUMAN, limit=5)}


def _middle(readers, database):
    """Where half of all studies are before."""
    half = (
        select(StudyRow.study_instance_uid).where(StudyRow.priority == Priority.ROUTINE).offset(STUDIES // 3).limit(1)
    )
    return readers.one(database.read(lambda session: session.scalar(half))).place


def timed(ask):
    """Seconds by the clock, and of this thread's CPU: on SQLite all of the work, whatever else a machine does."""
    took, worked = [], []
    for _ in range(ROUNDS):
        began, at_work = time.perf_counter(), time.thread_time()
        ask()
        took.append(time.perf_counter() - began)
        worked.append(time.thread_time() - at_work)
    high = int(ROUNDS * 0.95)
    took, worked = sorted(took), sorted(worked)
    return {
        "p50_s": round(took[ROUNDS // 2], 4),
        "p95_s": round(took[high], 4),
        "cpu_p50_s": round(worked[ROUNDS // 2], 4),
        "cpu_p95_s": round(worked[high], 4),
    }


def write(results, **figures):
    file = results / "site.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | figures, indent=2))


def test_every_list_at_a_million_studies(filled, results):
    name, worklist = filled
    readers = SqlReadingList(worklist.database)
    found = {"regions": timed(readers.regions)}
    for called, question in questions(readers, worklist.database).items():
        found[called] = timed(lambda question=question: readers.page(question))
    slowest = max(found, key=lambda called: found[called]["p95_s"])
    figures = {"studies": STUDIES, "wanted_p95_s": WANTED[name], "slowest": slowest, **found[slowest], "lists": found}
    write(results, **{f"lists on {name}": figures})
