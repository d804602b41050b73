"""Time and memory against what there is already: studies in the database, images a study, what waits, loops.

Into growth.json, with the exponent of a line through the logarithms of each: 0 is flat, 1 in proportion. BENCH_GROWTH
(1,000,000) is the most studies on SQLite, BENCH_GROWTH_POSTGRES (100,000) on Postgres; each size is a process of its
own. Figures are written and not asserted.
"""

import json
import multiprocessing
import os

import pytest
from support.growthbench import fitted, with_studies
from support.growthwork import with_backlog, with_images, with_loops
from support.postgres import postgres_cluster, postgres_database

MOST = {"sqlite": int(os.environ.get("BENCH_GROWTH", "1000000"))}
MOST["postgres"] = int(os.environ.get("BENCH_GROWTH_POSTGRES", "100000"))
ROUNDS = 100
IMAGES = (1, 5, 20, 100, 500)
WAITING = (10, 100, 1000, 10_000)
LOOPS = (1, 2, 4, 8)
IMAGES_FOR_LOOPS = 400

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.external)])
def database(request, tmp_path_factory):
    """(name, how to make an empty one called something)."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("growth")
        yield "sqlite", _Files(folder)
        return
    with postgres_cluster() as cluster:
        yield "postgres", lambda called: postgres_database(cluster.url, called)


class _Files:
    """SQLite files, each taken away when it was measured: a million studies are gigabytes."""

    def __init__(self, folder):
        self._folder = folder

    def __call__(self, called):
        self._file = self._folder / f"{called}.db"
        return self

    def __enter__(self):
        return f"sqlite:///{self._file}"

    def __exit__(self, *_):
        for file in self._folder.glob(f"{self._file.name}*"):
            file.unlink()


@pytest.fixture(scope="module")
def document(results):
    written = {}
    yield written
    file = results / "growth.json"
    file.write_text(json.dumps(written, indent=2) + "\n")


def apart(work, *arguments):
    """What `work` returns, in a process of its own: memory that it takes is not counted to the next."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def keep(document, name, by, runs):
    document[name] = {"by": by, "runs": runs, "exponents": fitted(runs, by)}
    print(name, json.dumps(document[name]["exponents"], indent=1))  # noqa: T201


def test_studies_in_the_database(database, document):
    name, made = database
    sizes = [size for size in (1000, 10_000, 100_000, 1_000_000) if size <= MOST[name]]
    runs = []
    for size in sizes:
        with made(f"studies{size}") as url:
            runs.append(apart(with_studies, url, size, ROUNDS))
    keep(document, f"studies on {name}", "studies", runs)


def test_what_waits(database, document):
    name, made = database
    runs = []
    for waiting in WAITING:
        with made(f"waiting{waiting}") as url:
            runs.append(apart(with_backlog, url, waiting, ROUNDS))
    keep(document, f"waiting on {name}", "waiting", runs)


def test_loops(database, document):
    name, made = database
    runs = []
    for loops in LOOPS:
        with made(f"loops{loops}") as url:
            runs.append(apart(with_loops, url, loops, IMAGES_FOR_LOOPS))
    document[f"loops on {name}"] = {"by": "loops", "runs": runs}
    print(name, json.dumps(runs, indent=1))  # noqa: T201


def test_images_of_a_study(document, tmp_path):
    runs = []
    for images in IMAGES:
        folder = tmp_path / str(images)
        runs.append(apart(with_images, f"sqlite:///{folder / 'triage.db'}", folder / "spool", images))
    keep(document, "images", "images", runs)
