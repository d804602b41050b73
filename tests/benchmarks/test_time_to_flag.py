"""From the last byte of a study's first abnormal image to the priority at the RIS, at five studies a second.

Into flag.json: with the embedded bundle, and with a model that takes a fixed time; beside them how long Orthanc waits
until it calls a study stable, measured, and what mercure documents. BENCH_FLAG_SECONDS (else BENCH_SECONDS, else 60) is
how long studies come, BENCH_FLAG_RATE (5) how many a second, BENCH_FLAG_IMAGES (2) of how many images, BENCH_LONG_SIDE
(1024) of how many pixels, BENCH_STABLE_AGE (60) Orthanc's. Nothing is asserted but that everything came.
"""

import json
import os
from dataclasses import replace

import pytest
from support.benchpictures import draw, measured, quick_pair
from support.faultsite import FaultAgent
from support.flagbench import SETTLING_SECONDS, ColdAgent, measure, running_site
from support.launcher import SLOW, SLOW_SECONDS, Launcher, QuickScorer
from support.ports import free_port
from support.quietpeers import DOCUMENTED, stable_study_waits

from triage_agent.builders import build_scorer
from triage_agent.settings import load_settings

SECONDS = float(os.environ.get("BENCH_FLAG_SECONDS", os.environ.get("BENCH_SECONDS", "60")))
RATE = float(os.environ.get("BENCH_FLAG_RATE", "5"))
IMAGES = int(os.environ.get("BENCH_FLAG_IMAGES", "2"))
LONG_SIDE = int(os.environ.get("BENCH_LONG_SIDE", "1024"))
STABLE_AGE = int(os.environ.get("BENCH_STABLE_AGE", "60"))
QUIET_SECONDS = 10  # so that for most of the time reports are made at the rate at which studies come
PAIRS = 4
STUDIES_AT_ORTHANC = 6

pytestmark = pytest.mark.timeout(SECONDS * 3 + 2 * SETTLING_SECONDS + 600)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    scorer = build_scorer(load_settings(None))
    return draw(tmp_path_factory.mktemp("pictures"), scorer, pairs=PAIRS, long_side=LONG_SIDE)


@pytest.fixture(scope="module")
def document(results):
    """What is written, part by part, so that one that fails costs the others nothing."""
    written = {"documented": DOCUMENTED}
    yield written
    (results / "flag.json").write_text(json.dumps(written, indent=2) + "\n")


def test_the_time_to_flag_with_the_embedded_bundle(pictures, document, tmp_path):
    def make(tables):
        return ColdAgent(tmp_path, bundle="embedded", own_process=True, pacs_port=free_port(), sends=(), tables=tables)

    with running_site(make, quiet=QUIET_SECONDS) as (agent, peers):
        found = measure(agent, peers, pictures, seconds=SECONDS, rate=RATE, images=IMAGES)
    document["embedded"] = {"quiet_seconds": QUIET_SECONDS, **found}
    _tell(found)


def test_the_time_to_flag_with_a_model_that_takes_a_fixed_time(document, tmp_path):
    pair = quick_pair(tmp_path, rows=LONG_SIDE, columns=LONG_SIDE * 5 // 6)
    pictures = replace(measured([pair], QuickScorer()), model_seconds=SLOW_SECONDS)
    launcher = Launcher()

    def make(tables):
        return _Slow(tmp_path / "agent", launcher, pacs_port=free_port(), sends=(), tables=tables)

    try:
        with running_site(make, quiet=QUIET_SECONDS) as (agent, peers):
            found = measure(agent, peers, pictures, seconds=SECONDS, rate=RATE, images=IMAGES)
    finally:
        launcher.close()
    document["fixed model"] = {"quiet_seconds": QUIET_SECONDS, **found}
    _tell(found)


def test_how_long_orthanc_waits(pictures, document, tmp_path):
    studies, age = STUDIES_AT_ORTHANC, STABLE_AGE
    found = stable_study_waits(tmp_path, pictures.pairs, studies=studies, images=IMAGES, stable_age=age)
    document["orthanc"] = found
    _tell(found)


class _Slow(FaultAgent):
    """With a model that does nothing for a while."""

    def start(self, *, wait=True):
        return super().start(wait=wait, mutations=[SLOW])


def _tell(found):
    print(json.dumps({name: value for name, value in found.items() if name != "waits_s"}, indent=1))  # noqa: T201
