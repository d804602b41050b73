"""Ten thousand studies a day with the embedded bundle on this machine; into day.json.

`support.daybench` says what is compressed. BENCH_DAY_COMPRESS (96: a quarter of an hour), BENCH_DAY_STUDIES (10,000),
BENCH_DAY_LOAD (20: the most), BENCH_DAY_IMAGES (2), BENCH_LONG_SIDE (1024) change it.
"""

import json
import os

import pytest
from support.benchpictures import draw
from support.daybench import Day, capacity, measure
from support.flagbench import SETTLING_SECONDS, ColdAgent, running_site
from support.ports import free_port

from triage_agent.builders import build_scorer
from triage_agent.settings import load_settings

DAY = Day(
    studies=int(os.environ.get("BENCH_DAY_STUDIES", "10000")),
    images=int(os.environ.get("BENCH_DAY_IMAGES", "2")),
    compress=float(os.environ.get("BENCH_DAY_COMPRESS", "96")),
    load=float(os.environ.get("BENCH_DAY_LOAD", "20")),
)
LONG_SIDE = int(os.environ.get("BENCH_LONG_SIDE", "1024"))
QUIET_SECONDS = 5
PAIRS = 4
AT_ONCE = 60  # to find out what the agent can do

pytestmark = pytest.mark.timeout(DAY.seconds * 2 + 2 * SETTLING_SECONDS + 600)


def test_a_day_of_many_studies(results, tmp_path):
    pictures = draw(tmp_path / "pictures", build_scorer(load_settings(None)), pairs=PAIRS, long_side=LONG_SIDE)

    def make(tables):
        return ColdAgent(tmp_path, bundle="embedded", own_process=True, pacs_port=free_port(), sends=(), tables=tables)

    with running_site(make, quiet=QUIET_SECONDS) as (agent, _):
        can = capacity(agent, pictures, studies=AT_ONCE, images=DAY.images)
        found = measure(agent, pictures, DAY, can, before=AT_ONCE)
    (results / "day.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "looks"}, indent=1))  # noqa: T201
