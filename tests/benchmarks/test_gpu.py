"""From DICOM files to scores on a GPU, at full load; the figures go to build/bench/gpu.json, goals beside them.

MedSigLIP's tower at 448 pixels and MedGemma's at 896, with random weights in real bundles: the tower alone, images that
are in memory, and files of 10 MB and compressed ones. Beside them what the same machine's products reach at most.
"""

import gc
import json
import os
import platform
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from support.pacebench import (
    CODINGS,
    files_to_scores,
    long_enough,
    milliseconds,
    ready_to_scores,
    write_radiographs,
    write_tower_bundle,
)
from support.towerbench import TOWERS, ceiling_of, flops_of, seconds_of

from triage_agent.imaging.isolated.pool import Decoders, Limits
from triage_agent.imaging.load import load_for_scoring
from triage_agent.models.scorer import load_scorer

BATCH = {"medsiglip": 32, "medgemma": 8}
FILES = int(os.environ.get("BENCH_FILES", "48"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "10"))  # of each figure from files, roughly
LOOPS = 4

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def files(gpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs")
    counts = {
        coding: FILES if coding == "uncompressed" else max(4, FILES // 8) for coding in CODINGS
    }  # coding takes seconds
    return {coding: write_radiographs(folder / coding, count, coding=coding) for coding, count in counts.items()}


@pytest.fixture(scope="session")
def report(gpu, files, results):
    cores = len(os.sched_getaffinity(0))
    written = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make bench",
        "device": torch.cuda.get_device_name(gpu),
        "cores": cores,
        "cpu": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "weights": "random",
        "loops": LOOPS,
        "decoders": max(1, cores - 2),
        "file_megabytes": {coding: paths[0].stat().st_size / 1e6 for coding, paths in files.items()},
        "ceiling_flops_per_second": ceiling_of(gpu, torch.bfloat16),
        "towers": {},
    }
    yield written
    (results / "gpu.json").write_text(json.dumps(written, indent=2) + "\n")


def alone(scorer, config, batch, gpu):
    """Images a second of the encoder, one batch after the other, that are on the device already."""
    images = torch.rand(batch, 1, config["image_size"], config["image_size"], device=gpu).expand(-1, 3, -1, -1) * 2 - 1
    with torch.inference_mode():
        return batch / seconds_of(lambda: scorer._embed(images), gpu, 10, warm_up=5)


def read_cost(paths, side):
    """Milliseconds of one core for one file: the whole image, and the square that the model samples."""
    return {
        "whole_ms": milliseconds(lambda: load_for_scoring(paths[0])),
        "square_ms": milliseconds(lambda: load_for_scoring(paths[0], side=side)),
    }


def files_speed(paths, scorer, way):
    """Images a second from files, for long enough."""
    with Decoders(Limits(seconds=60, memory_mb=2048), most=way["decoders"]) as decoders:

        def measured(count):
            return files_to_scores(paths, decoders, scorer, **way, count=count)[0]

        return long_enough(measured, SECONDS, max(len(paths), way["claim"]))


def ready_speed(images, scorer, way):
    """Images a second that are in memory already, for long enough."""

    def measured(count):
        return ready_to_scores(images, scorer, loops=way["loops"], together=way["together"], count=count)

    return long_enough(measured, SECONDS, 4 * way["together"])


def figures_of(scorer, config, way, files, share, gpu):
    """What is written of one tower; `share`: of the ceiling, for one image a second."""
    side, batch = config["image_size"], way["together"]
    squares = list(np.random.default_rng(0).random((2 * batch, side, side), np.float32))
    rate = alone(scorer, config, batch, gpu)
    ready = ready_speed(squares, scorer, way)
    speeds = {coding: files_speed(paths, scorer, way) for coding, paths in files.items()}
    return {
        "encoder_images_per_second": rate,
        "encoder_share_of_ceiling": rate * share,
        "ready_images_per_second": ready,
        "ready_share_of_ceiling": ready * share,
        "one_image_alone_ms": milliseconds(lambda: scorer.score(squares[:1])),  # waits for others that do not come
        "from_files": {
            coding: {
                "images_per_second": speed,
                "share_of_ceiling": speed * share,
                "share_of_encoder": speed / rate,
                "share_of_ready": speed / ready,
                **read_cost(files[coding], side),
            }
            for coding, speed in speeds.items()
        },
    }


@pytest.mark.parametrize("kind", ["medsiglip", "medgemma"])
def test_how_fast_files_become_scores(kind, gpu, files, report, tmp_path):
    config, goal = TOWERS[kind]
    batch = BATCH[kind]
    folder = write_tower_bundle(tmp_path / kind, kind, config, device=gpu)
    share = flops_of(config) / report["ceiling_flops_per_second"]
    way = {"decoders": report["decoders"], "loops": LOOPS, "claim": batch, "together": batch}
    found = {"image_size": config["image_size"], "batch": batch, "goal_share_of_ceiling": goal}
    found |= figures_of(load_scorer(folder, "cuda", batch=batch), config, way, files, share, gpu)
    report["towers"][kind] = found
    gc.collect()
    torch.cuda.empty_cache()
    print(json.dumps(found))  # noqa: T201
