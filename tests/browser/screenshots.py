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

from support.served import Served  # noqa: E402 - it lies beside us, not among what is installed
from support.shown_hospital import fill  # noqa: E402

SIZES = {1920: 1080, 1280: 800, 390: 844}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        served = Served(Path(place), browser, began=datetime.now(UTC), empty=True, institution="Example Hospital")
        study = fill(served.hospital)
        for scheme in ("light", "dark"):
            for width, height in SIZES.items():
                pages = {"worklist": "/", "study": f"/studies/{study}", "audit": "/audit"}
                page = served.reader("everybody", viewport={"width": width, "height": height}, color_scheme=scheme)
                for name, path in pages.items():
                    page.goto(path)
                    page.wait_for_timeout(1500)  # the first live look, and the images
                    write(page, folder / f"{name}-{scheme}-{width}.png")
        served.close()
        assert not served.complaints, served.complaints


def write(page, file):
    """As small as it can be without anybody seeing it."""
    page.screenshot(path=file)
    with Image.open(file) as taken:
        taken.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            file, optimize=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "web")
