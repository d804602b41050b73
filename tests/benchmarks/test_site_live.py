"""What two hundred open pages of ten lists cost, while two studies a second come or are raised; into site.json.

`BENCH_SECONDS` is how long (60). The pages are served by a process of its own, whose CPU time is what is measured; the
figure is written, with what is wanted beside it, and every page must have heard of the last change.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from support.million import fill
from support.ports import free_port
from support.site import PASSWORD, Hospital
from support.story import decision, received

from triage_agent.domain.study import CompletenessRule
from triage_agent.domain.vocabulary import Priority

SECONDS = int(os.environ.get("BENCH_SECONDS", "60"))
PAGES, A_SECOND = 200, 2
LISTS = [
    "",
    "read=1",
    "order=newest",
    "days=1",
    "days=3",
    "days=30",
    "days=all",
    "status=receiving",
    "q=patient",
    "priority=urgent",
]
CROWD = 2000  # studies that are there already
RULE = CompletenessRule(quiet=timedelta(0), max_wait=timedelta(seconds=1))

pytestmark = [pytest.mark.timeout(SECONDS * 3 + 300), pytest.mark.external]


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path)
    fill(made.worklist.database, CROWD, datetime.now(UTC))
    yield made
    made.engine.dispose()


@pytest.fixture
def served(hospital, tmp_path):
    port = free_port()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = Path(__file__).parents[1] / "support" / "site_process.py"
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(port)], env=environment)
    base = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            httpx.get(f"{base}/healthz")
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield process.pid, base
    process.terminate()
    process.wait(30)


def come(hospital, study):
    now = datetime.now(UTC)
    header = {"patient_name": "Patient^Some", "accession_number": f"A{study}"[:16]}
    hospital.worklist.register(received(study, f"{study}.1", now, **header), RULE)


def raise_one(hospital, study):
    now = datetime.now(UTC)
    view = next(one for one in hospital.worklist.due_for_completion(now) if one.study_instance_uid == study)
    hospital.worklist.complete(view, "no image came", now)
    claimed = hospital.worklist.claim_study("w1", now, timedelta(minutes=1))
    # To the top of each list, above those raised before: the most that a change can cost.
    raised = int(study.rsplit(".", 1)[1])
    top = decision(claimed.study_instance_uid, at=now, priority=Priority.STAT, probability=0.995 + raised / 1e5)
    hospital.worklist.decide(top, [], [], "w1")


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Page:
    """An open page: how many events it got, how many bytes, and the last list that it shows."""

    def __init__(self):
        self.events = self.bytes = 0
        self.begun = asyncio.Event()
        self.order = []

    async def watch(self, client, query):
        async with client.stream("GET", f"/live?{query}", timeout=None) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                self.bytes += len(line)
                if line.startswith("data: {"):
                    self.events += 1
                    self.begun.set()
                    self.order = json.loads(line[6:]).get("order", self.order)


async def changes(hospital):
    """Two a second: a study comes, or one of those that came is raised."""
    began = asyncio.get_running_loop().time()
    for number in range(SECONDS * A_SECOND):
        await asyncio.sleep(max(0.0, began + number / A_SECOND - asyncio.get_running_loop().time()))
        act = come if number % 2 == 0 else raise_one
        await asyncio.to_thread(act, hospital, f"1.2.4.{number // 2}")
    return asyncio.get_running_loop().time() - began


async def look_on(hospital, pid, base):
    limits = httpx.Limits(max_connections=PAGES + 10)
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=120) as client:
        await client.post("/login", data={"name": "radiologist", "password": PASSWORD})
        pages = [Page() for _ in range(PAGES)]
        watching = [
            asyncio.create_task(page.watch(client, LISTS[number % len(LISTS)])) for number, page in enumerate(pages)
        ]
        for page in pages:
            await asyncio.wait_for(page.begun.wait(), 120)
        before = cpu_seconds(pid)
        took = await changes(hospital)
        cores = (cpu_seconds(pid) - before) / took
        raised = f"1.2.4.{SECONDS * A_SECOND // 2 - 1}"
        for _ in range(300):
            if all(raised in page.order for page in pages[6 :: len(LISTS)]):
                break
            await asyncio.sleep(0.1)
        for task in watching:
            task.cancel()
        return cores, took, pages, raised


def test_what_two_hundred_open_pages_cost(hospital, served, results):
    pid, base = served
    cores, took, pages, raised = asyncio.run(look_on(hospital, pid, base))
    figures = {
        "pages": PAGES,
        "lists": len(LISTS),
        "seconds": round(took, 1),
        "cores": round(cores, 3),
        "wanted_cores": 0.5,
        "events_a_page": round(sum(page.events for page in pages) / PAGES, 1),
        "bytes_an_event": round(sum(page.bytes for page in pages) / sum(page.events for page in pages)),
    }
    file = results / "site.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | {"open pages": figures}, indent=2))
    assert all(raised in page.order for page in pages[6 :: len(LISTS)])
