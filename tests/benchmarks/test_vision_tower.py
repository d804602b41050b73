"""MedGemma's and MedSigLIP's vision towers at full size on a GPU: images a second, share of the ceiling, memory.

Goals are written beside the figures and not asserted: a machine that misses them has still been measured.
"""

import gc
import json
from datetime import UTC, datetime

import pytest
import torch
from support.towerbench import TOWERS, ceiling_of, from_dicom, random_tower, report_of, speed_of

from triage_agent.simulation.phantom.files import write_studies

BATCHES = (1, 2, 4, 8, 16, 32, 64)
STUDIES = 16
LONG_SIDE = 2048  # pixels; phantoms beyond that take minutes to draw
WORKERS = 8

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def files(gpu, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom") / "studies"
    write_studies(folder, STUDIES, anatomy=None, abnormal_rate=0.5, seed=1, now=datetime.now(UTC), long_side=LONG_SIDE)
    return sorted(folder.rglob("*.dcm"))


@pytest.fixture(scope="session")
def ceiling(gpu):
    return ceiling_of(gpu, torch.bfloat16)


@pytest.mark.parametrize("kind", TOWERS)
def test_the_tower_at_full_size(kind, gpu, ceiling, files, results):
    config, goal = TOWERS[kind]
    encoder = random_tower(kind, config, gpu)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.bfloat16}
    speeds = []
    for compiled in (False, True):
        for batch in BATCHES:
            try:
                speeds.append(speed_of(encoder, config, gpu, batch, ceiling, compiled=compiled))
            except torch.OutOfMemoryError:
                break  # so does every larger batch
    embeddings, end_to_end = from_dicom(encoder, files, gpu, batch=8, workers=WORKERS)
    assert embeddings.isfinite().all()
    report = report_of(kind, config, goal, gpu, speeds, ceiling, end_to_end)
    (results / f"vision_tower_{kind}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({key: report[key] for key in ("tower", "best_share_of_ceiling", "from_dicom")}))  # noqa: T201
    del encoder
    gc.collect()
    torch.cuda.empty_cache()
