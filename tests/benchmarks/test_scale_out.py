"""Growth by replicas on Ray and by workers on Postgres, at a simulated model time of 50 ms an image.

Figures go to build/bench/scale_out.json and are not asserted, but for that every image was scored. BENCH_SCALE_SECONDS
(20) for each measurement, BENCH_SCALE (1,2,4,8) how many; with the defaults it takes about seven minutes on two cores.
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime

import pytest
from support.postgres import postgres_database, postgres_server
from support.raycluster import TOKEN, running
from support.scaleout import BATCH, MODEL_SECONDS, compared, measure_replicas, measure_workers, written

from triage_agent.models.cluster.plan import Plan

SECONDS = float(os.environ.get("BENCH_SCALE_SECONDS", "20"))
COUNTS = [int(count) for count in os.environ.get("BENCH_SCALE", "1,2,4,8").split(",")]

pytestmark = [pytest.mark.external, pytest.mark.timeout(max(600, SECONDS * 60))]


@pytest.fixture(scope="module")
def document(results):
    """What is written, part by part, so that one that fails costs the other nothing."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    found = {
        "model_seconds_an_image": MODEL_SECONDS,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "command": "python -m pytest tests/benchmarks/test_scale_out.py -n 0 -s",
    }
    yield found
    written(results / "scale_out.json", found)


def test_replicas_on_ray(document):
    rows = []
    with running(1, cpus=max(COUNTS)) as nodes:
        for count in COUNTS:
            plan = Plan(address=nodes.address, token=TOKEN, replicas=count, max_replicas=count, batch=BATCH)
            rows.append(measure_replicas(nodes, plan, SECONDS))
            print(json.dumps(rows[-1]))  # noqa: T201
        shared = measure_replicas(nodes, plan, SECONDS, agents=max(1, COUNTS[-1] // 2))
        print(json.dumps(shared))  # noqa: T201
    document["ray_replicas"] = compared(rows)
    document["ray_agents"] = compared([rows[0], shared])[1]
    assert [one["count"] for one in rows] == COUNTS


def test_workers_on_postgres(document, tmp_path):
    rows = []
    with postgres_server() as server:
        for count in COUNTS:
            with postgres_database(server, f"scale_{count}") as url:
                rows.append(measure_workers(url, tmp_path / str(count), count, SECONDS))
            print(json.dumps(rows[-1]))  # noqa: T201
    document["postgres_workers"] = compared(rows)
    assert [one["count"] for one in rows] == COUNTS
