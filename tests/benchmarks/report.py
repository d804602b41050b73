"""Writes what benchmarks measured into the documentation: tables between marks, and pictures.

`python tests/benchmarks/report.py [--results build/bench] [--docs docs]`, as `make bench` does at its end. Nothing is
measured here, and nothing is made up: of a file that is not there it is said that it was not measured.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support import benchplots, sizing  # noqa: E402 - found by the line above
from support.benchreading import Bench  # noqa: E402
from support.benchtables import GOALS, SECTIONS  # noqa: E402

STUDY_WORK = ("receive", "claim an image", "raise", "claim a study", "decide", "claim a delivery")
ASKED = ("the list's page", "one study", "numbers for metrics", "the backlog", "look for work", "expire leases")
BY_STUDIES = [
    (f"studies on {database}", "studies in the database", kinds)
    for database in ("sqlite", "postgres")
    for kinds in (STUDY_WORK, ASKED)
]
BY_OTHERS = [("waiting on sqlite", "studies that wait", None), ("images", "images of a study", None)]


@dataclass(frozen=True)
class Picture:
    """Stands before the table of a section, where it could be drawn."""

    section: str
    name: str
    shows: str
    draw: Callable[[Bench, Path], bool]


PICTURES = (
    Picture("ingest", "ingest", "time and memory against the size of an image and associations", benchplots.ingest),
    Picture("flag", "flag", "share of studies that are flagged after so many seconds", benchplots.time_to_flag),
    Picture("day", "day", "seconds of work that wait, over the hours of the day", benchplots.day),
    Picture("scale", "scale", "images a second against replicas and workers", benchplots.scale),
    Picture(
        "growth",
        "growth-studies",
        "milliseconds against studies in the database",
        partial(benchplots.growth, parts=BY_STUDIES),
    ),
    Picture(
        "growth",
        "growth-others",
        "milliseconds against what waits, and against images of a study",
        partial(benchplots.growth, parts=BY_OTHERS),
    ),
)


def main(arguments=None):
    """Write; prints each goal with its verdict."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--results", type=Path, default=ROOT / "build" / "bench")
    asked.add_argument("--docs", type=Path, default=ROOT / "docs")
    given = asked.parse_args(arguments)
    bench = Bench(given.results)
    shown = pictures(bench, given.docs / "performance")
    fill(given.docs / "performance.md", {name: shown.get(name, "") + make(bench) for name, make in SECTIONS.items()})
    fill(given.docs / "capacity.md", {"sizing": sizing.tables(bench)})
    for goal in GOALS:
        what, wanted, measured, verdict = goal.row(bench)
        print(f"{what}: {measured} (wanted: {wanted}): {verdict}")  # noqa: T201


def pictures(bench, folder):
    """{section: its pictures, in Markdown}; one that could not be drawn is taken away, since it would be of before."""
    shown = {}
    for one in PICTURES:
        file = folder / f"{one.name}.svg"
        if one.draw(bench, file):
            shown[one.section] = shown.get(one.section, "") + f"![{one.shows}]({folder.name}/{file.name})\n\n"
        else:
            file.unlink(missing_ok=True)
    return shown


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
