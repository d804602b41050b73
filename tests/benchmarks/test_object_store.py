"""Receiving into an object store beside receiving onto the local disk, in one run: same files and sender, interleaved.

The server is moto on loopback, one process of Python that keeps what it gets in memory: measured is what a server in
between costs for each image, not a store. Figures go to build/bench/object_store.json; only that all came is asserted.
BENCH_ROUNDS (5) and BENCH_IMAGES (20) change how much.
"""

import json
import os
import statistics
import subprocess
import time
from contextlib import ExitStack

import numpy as np
import pytest
from support.agent import Agent
from support.objects import store_at
from support.programs import require_program
from support.s3 import KEY, SECRET, s3_server
from support.xrays import radiograph

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
IMAGES = int(os.environ.get("BENCH_IMAGES", "20"))
SIZES = {"0.5 MB": (512, 512), "10 MB": (2048, 2560)}  # rows and columns of 16 bits

pytestmark = [pytest.mark.external, pytest.mark.timeout(3600)]


def written(folder, rows, columns, count):
    """Files of so many images, each an instance of its own."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(rows).integers(0, 4096, (rows, columns), dtype=np.uint16)
    for number in range(count):
        radiograph(noise, seed=number).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def seconds_to_send(port, folder):
    """Of one association of storescu's, which ends with an error where an image was not taken."""
    command = [require_program("/usr/bin/storescu"), "+sd", "-aet", "PACS", "-aec", "TRIAGE", "127.0.0.1", str(port)]
    started = time.perf_counter()
    subprocess.run([*command, str(folder)], check=True, capture_output=True, timeout=600)
    return time.perf_counter() - started


def measure(folder, sizes, rounds, count):
    """Seconds an image, the median of rounds, of each spool and size, and their ratio."""
    with ExitStack() as stack:
        server = stack.enter_context(s3_server())
        bucket = server.bucket()
        table = (
            f'[spool]\nurl = "s3://{bucket}/bench"\nendpoint = "{server.endpoint}"\naccess_key = "{KEY}"\n'
            f'secret_key = "{SECRET}"\ntimeout_seconds = 120\n'
        )
        agents = {}
        for name, tables in (("local", ""), ("object_store", table)):
            agents[name] = Agent(
                folder / name, bundle="embedded", role="listener", quiet=3600, tables=tables, pacs_port=1
            )
            stack.callback(agents[name].close)
            agents[name].start(cold=True)
        found = {size: {name: [] for name in agents} for size in sizes}
        for number in range(rounds + 1):  # the first warms up
            for size, (rows, columns) in sizes.items():
                files = written(folder / f"{number}-{rows}", rows, columns, count)
                for name in sorted(agents, reverse=bool(number % 2)):
                    taken = seconds_to_send(agents[name].port, files) / count
                    found[size][name] += [taken] if number else []
        expected = (rounds + 1) * count * len(sizes)
        came = {name: sum(item["instances"] for item in agent.worklist()) for name, agent in agents.items()}
        assert came == dict.fromkeys(agents, expected)
        kept = sum(1 for one in store_at(server.endpoint, bucket, prefix="bench").listed("incoming/"))
        assert kept == expected
    return {size: figures(by_spool) for size, by_spool in found.items()}


def figures(by_spool):
    medians = {name: statistics.median(taken) for name, taken in by_spool.items()}
    said = {name: {"seconds_an_image": round(value, 5), "rounds": by_spool[name]} for name, value in medians.items()}
    return {**said, "ratio": round(medians["object_store"] / medians["local"], 3)}


def test_what_a_store_costs_a_receiver(tmp_path, results):
    found = {
        "cores": os.cpu_count(),
        "images": IMAGES,
        "rounds": ROUNDS,
        "sizes": measure(tmp_path, SIZES, ROUNDS, IMAGES),
    }
    (results / "object_store.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=1))  # noqa: T201
