"""Writes what benchmarks measured into the documentation: tables between marks, and pictures.

`python tests/benchmarks/report.py [--results build/bench] [--docs docs]`, as `make bench` does at its end. Nothing is
measured here, and nothing is made up: of a file that is not there it is said that it was not measured.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import benchplots, sizing  # noqa: E402 - found by the line above
from support.benchreading import Bench  # noqa: E402
from support.benchtables import GOALS, SECTIONS  # noqa: E402

STUDY_WORK = ("receive", "claim an image", "raise", "claim a study", "decide", "claim a delivery")
ASKED = ("the list's page", "one study", "numbers for metrics", "the backlog", "look for work", "expire leases")
PICTURES = {
    "ingest": benchplots.ingest,
    "scale": benchplots.scale,
    "flag": benchplots.time_to_flag,
    "day": benchplots.day,
    "growth-studies": lambda bench, file: benchplots.growth(
        bench,
        file,
        [
            ("studies on sqlite", "studies in the database", STUDY_WORK),
            ("studies on sqlite", "studies in the database", ASKED),
            ("studies on postgres", "studies in the database", STUDY_WORK),
            ("studies on postgres", "studies in the database", ASKED),
        ],
    ),
    "growth-others": lambda bench, file: benchplots.growth(
        bench,
        file,
        [
            ("waiting on sqlite", "studies that wait", None),
            ("images", "images of a study", None),
        ],
    ),
}


def main(arguments=None):
    """Write; prints each goal with its verdict."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--results", type=Path, default=ROOT / "build" / "bench")
    asked.add_argument("--docs", type=Path, default=ROOT / "docs")
    given = asked.parse_args(arguments)
    bench = Bench(given.results)
    fill(given.docs / "performance.md", {name: make(bench) for name, make in SECTIONS.items()})
    fill(given.docs / "capacity.md", {"sizing": sizing.tables(bench)})
    for name, draw in PICTURES.items():
        draw(bench, given.docs / "performance" / f"{name}.svg")
    for goal in GOALS:
        what, wanted, measured, verdict = goal.row(bench)
        print(f"{what}: {measured} (wanted: {wanted}): {verdict}")  # noqa: T201


def fill(page, parts):
    """Put each part between its marks; a page without them says so, since its table would be out of date unseen.

    Raises:
        ValueError: the page has no such marks.
    """
    text = page.read_text()
    for name, content in parts.items():
        marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        inside = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
        if len(inside.findall(text)) != 1:
            raise ValueError(f"{page} does not have the marks of {name} once")
        text = inside.sub(lambda _, content=content, marks=marks: f"{marks[0]}\n{content}\n{marks[1]}", text)
    page.write_text(text)


if __name__ == "__main__":
    main()
