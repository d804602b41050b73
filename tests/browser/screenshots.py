"""Writes docs/web/*.png: `make screenshots`. Every patient in them is made up, and so is every radiograph."""

import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.auditing import seal_all  # noqa: E402
from support.served import Served  # noqa: E402 - it lies beside us, not among what is installed
from support.shown_hospital import fill  # noqa: E402

from triage_agent.audit.anchors import open_signer  # noqa: E402
from triage_agent.domain.accounts import Role  # noqa: E402
from triage_agent.domain.audit import AuditEvent  # noqa: E402
from triage_agent.domain.vocabulary import AuditAction  # noqa: E402

SIZES = {1920: 1080, 1280: 800, 390: 844}
WITH_EVIDENCE = 1280  # it is off wherever nobody asks for it


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        settings = {"institution": "Example Hospital", "evidence": True}
        served = Served(Path(place), browser, began=datetime.now(UTC), empty=True, **settings)
        study = fill(served.hospital)
        pages = {
            "worklist": "/",
            "study": f"/studies/{study}",
            "dashboard": "/dashboard?days=1",
            "audit": "/audit",
            "chain": "/audit/chain",
            "story": f"/studies/{study}/story",
            "account": "/account",
        }
        verify(served, Path(place))
        for scheme in ("light", "dark"):
            for width, height in SIZES.items():
                look = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
                page = served.reader("everybody", **look)
                for name, path in pages.items():
                    seal_all(served.hospital.trail, served.hospital.now)
                    page.goto(path)
                    page.wait_for_timeout(1500)  # the first live look, and the images
                    write(page, folder / f"{name}-{scheme}-{width}.png")
                    if (name, width) == ("study", WITH_EVIDENCE):
                        page.keyboard.press("e")
                        page.wait_for_timeout(500)
                        write(page, folder / f"evidence-{scheme}-{width}.png")
                for name, page in at_the_door(served, look):
                    write(page, folder / f"{name}-{scheme}-{width}.png")
        served.close()
        assert not served.complaints, served.complaints


def verify(served, folder):
    """A log that is sealed, anchored and verified, as one of a running agent is."""
    hospital = served.hospital
    seal_all(hospital.trail, hospital.now)
    signer = open_signer(folder / "anchor.key", make=True)
    hospital.anchors = (signer.sign(hospital.trail.head(), hospital.now),)
    told = {"position": hospital.trail.head().position}
    hospital.worklist.record_audit(
        AuditEvent(at=hospital.now, action=AuditAction.AUDIT_ANCHORED, actor="triage-agent", detail=told)
    )
    page = served.reader("auditor", then="/audit/chain")
    page.get_by_role("button", name="Verify").click()
    page.get_by_role("heading", name="Intact").wait_for()


def at_the_door(served, look):
    """The sign-in, and the two pages of the second factor."""
    served.hospital.person("b.ahlgren", Role.AUDITOR)
    page = served.open(**look)
    page.goto("/login")
    yield "login", page
    page = served.reader("b.ahlgren", then="/second", **look)
    yield "second-setup", page


def write(page, file):
    """As small as it can be without anybody seeing it."""
    page.screenshot(path=file)
    with Image.open(file) as taken:
        taken.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            file, optimize=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "web")
