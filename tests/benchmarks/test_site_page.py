"""How soon a page is complete in a browser, with a million studies and radiographs of real size; into site.json.

`BENCH_STUDIES` is how many (1,000,000). Chromium and the agent share the machine. A page is complete when its load
event is over and all its images are decoded. Figures are written, with what is wanted beside them, and not asserted.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright
from sqlalchemy import select
from support import million, shown_hospital
from support.ports import free_port
from support.programs import require_program
from support.site import PASSWORD, Hospital

from triage_agent.worklist.tables import StudyRow

STUDIES = int(os.environ.get("BENCH_STUDIES", "1000000"))
VISITS, SHOWN, LONG_SIDE = 15, 16, 2500
WANTED = 1.0  # seconds
LISTS = {
    "worklist": "/",
    "worklist, all days": "/?days=all",
    "worklist, a name": "/?days=all&q=akesson7",
    "worklist, newest": "/?order=newest",
}
# The load event, and every image that the page shows at once: those below are loaded when they are scrolled to.
COMPLETE = """async () => {
    const shown = [...document.querySelectorAll('img')].filter(one => one.loading !== 'lazy');
    await Promise.all(shown.map(one => one.decode()));
    return document.readyState === 'complete' && shown.length;
}"""

pytestmark = [pytest.mark.timeout(1800), pytest.mark.external]


class Now(Hospital):
    """A hospital whose time is the present."""

    @property
    def now(self):
        return datetime.now(UTC)

    @now.setter
    def now(self, _):
        pass


@pytest.fixture
def served(tmp_path):
    """(address, UIDs of studies whose images are there)."""
    hospital = Now(tmp_path, empty=True)
    million.fill(hospital.worklist.database, STUDIES, hospital.now)
    shown_hospital.fill(hospital, studies=SHOWN, long_side=LONG_SIDE)
    ours = select(StudyRow.study_instance_uid).where(StudyRow.study_instance_uid.not_like("1.2.840.99999.1.%"))
    uids = hospital.worklist.database.read(lambda session: list(session.scalars(ours)))
    hospital.engine.dispose()
    port = free_port()
    script = Path(__file__).parents[1] / "support" / "site_process.py"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path), str(port)], env=environment)
    base = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            httpx.get(f"{base}/healthz")
            break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield base, uids
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def signed_in(browser, base, name):
    page = browser.new_context(base_url=base, viewport={"width": 1920, "height": 1080}).new_page()
    page.set_default_timeout(60_000)
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{base}/")
    return page


def visit(page, path):
    began = time.perf_counter()
    answer = page.goto(path, wait_until="load")
    assert answer.status == 200, path
    assert page.evaluate(COMPLETE)
    return time.perf_counter() - began


def summed(took):
    took = sorted(took)
    return {
        "visits": len(took),
        "p50_s": round(statistics.median(took), 3),
        "p95_s": round(took[int(len(took) * 0.95)], 3),
        "max_s": round(took[-1], 3),
        "wanted_s": WANTED,
    }


def test_how_soon_a_page_is_complete(served, results):
    base, uids = served
    found = {}
    with sync_playwright() as playwright:
        program = require_program("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        reader = signed_in(browser, base, "radiologist")
        for name, path in LISTS.items():
            found[name] = summed([visit(reader, path) for _ in range(VISITS)])
        # Each study twice: its images are rendered at the first visit and kept for the second.
        for name in ("study, first look", "study, again"):
            found[name] = summed([visit(reader, f"/studies/{uid}") for uid in uids])
        admin = signed_in(browser, base, "admin")
        found["dashboard"] = summed([visit(admin, "/dashboard") for _ in range(VISITS)])
        auditor = signed_in(browser, base, "auditor")
        found["audit"] = summed([visit(auditor, "/audit") for _ in range(VISITS)])
        browser.close()
    print(json.dumps(found, indent=1))  # noqa: T201
    file = results / "site.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    pages = {"studies": STUDIES, "image_long_side_px": LONG_SIDE, "pages": found}
    file.write_text(json.dumps(known | {"complete pages": pages}, indent=2))
