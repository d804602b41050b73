"""Receiving, beside dcmtk's storescp and Orthanc: see `support.ingestbench`. Figures go to build/bench/ingest.json.

BENCH_ROUNDS (5) rounds of each case. Nothing is asserted but that everything came once.
"""

import json
import os

import pytest
from support.ingestbench import MEGABYTE, Case, grow, machine, measure, receivers

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
EVERYBODY = ("agent", "agent, 2 processes", "storescp", "storescp, PDUs of 128 KiB", "orthanc")
CASES = (
    Case("10 MB", 10 * MEGABYTE, 24),
    Case("0.5 MB, JPEG-LS", MEGABYTE // 2, 60, compressed=True),
    Case("10 MB, 8 associations", 10 * MEGABYTE, 6, associations=8),
    Case("0.5 MB, JPEG-LS, 8 associations", MEGABYTE // 2, 30, associations=8, compressed=True),
)
SIZES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
ASSOCIATIONS = (1, 2, 4, 8, 16, 32, 50)

pytestmark = [pytest.mark.external, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    with receivers(tmp_path_factory.mktemp("ingest"), EVERYBODY) as running:
        yield running


@pytest.fixture(scope="module")
def document(results, tmp_path_factory):
    """What is written, part by part, so that one that fails costs the others nothing."""
    written = {"machine": machine(tmp_path_factory.getbasetemp()), "rounds": ROUNDS, "cases": {}, "growth": {}}
    yield written
    (results / "ingest.json").write_text(json.dumps(written, indent=2) + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_how_long_images_take(case, peers, document, tmp_path):
    found = document["cases"][case.name] = measure(case, peers, tmp_path / "images", ROUNDS)
    print(case.name, json.dumps({"median": found["median"], "ratios": found["ratios"]}, indent=1))  # noqa: T201


def test_time_and_memory_by_the_size_of_an_image(peers, document, tmp_path):
    cases = [Case(f"{size} MB", int(size * MEGABYTE), max(2, min(20, int(40 / size)))) for size in SIZES]
    found = document["growth"]["size"] = grow(cases, peers, tmp_path)
    print(json.dumps(found, indent=1))  # noqa: T201


def test_time_and_memory_by_the_number_of_associations(peers, document, tmp_path):
    cases = [Case(f"{number} at once", MEGABYTE, 5, associations=number) for number in ASSOCIATIONS]
    found = document["growth"]["associations"] = grow(cases, peers, tmp_path)
    print(json.dumps(found, indent=1))  # noqa: T201
