"""On a CPU: from DICOM files to scores beside a bare loop over the same model, which has its images in memory already.

The embedded bundle, which looks at whole images, and a SigLIP tower, which gets squares of them; of 10 MB radiographs.
Rounds of both take turns; the ratio of a round is of neighbours. The figures go to build/bench/cpu_pipeline.json.
"""

import json
import os
import platform
import statistics
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import torch
from support.pacebench import files_to_scores, ready_to_scores, write_radiographs, write_tower_bundle

from triage_agent.imaging.isolated.pool import Decoders, Limits
from triage_agent.imaging.load import load_for_scoring
from triage_agent.models.scorer import load_scorer
from triage_agent.pace import pace_of
from triage_agent.settings import Settings

FILES = int(os.environ.get("BENCH_FILES", "24"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
GOAL = 0.9
# A small one, so that decoding counts: MedSigLIP's own tower takes a CPU seconds an image.
TOWER = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "image_size": 224,
    "patch_size": 16,
    "pooling": "mean",
}

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def report(results):
    cores = len(os.sched_getaffinity(0))
    written = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "make bench",
        "cores": cores,
        "cpu": platform.processor() or platform.machine(),
        "files": FILES,
        "rounds": ROUNDS,
        "goal_ratio": GOAL,
        "bundles": {},
    }
    yield written
    (results / "cpu_pipeline.json").write_text(json.dumps(written, indent=2) + "\n")


@pytest.mark.parametrize("name", ["embedded", "siglip"])
def test_files_become_scores_about_as_fast_as_the_bare_model_goes(name, report, tmp_path):
    before = torch.get_num_threads()
    paths = write_radiographs(tmp_path / "files", FILES)
    bundle = "embedded" if name == "embedded" else write_tower_bundle(tmp_path / "bundle", "siglip", TOWER)
    scorer = load_scorer(bundle, "cpu", threads=1)
    side = scorer.sampled_side
    loaded = [load_for_scoring(path, side=side) for path in paths]
    images = [one.image for one in loaded]
    expected = [one.probability for one in scorer.score(images, [one.region.code for one in loaded])]
    site = Settings()
    pace = pace_of(site, SimpleNamespace(device="cpu", sampled_side=side))
    way = {"decoders": pace.decoders, "loops": pace.loops, "together": pace.together, "claim": site.model.batch}
    bare, whole = [], []
    with Decoders(Limits(seconds=60, memory_mb=2048), most=pace.decoders) as decoders:
        for _ in range(ROUNDS):
            bare.append(ready_to_scores(images, scorer, loops=1, together=1, count=FILES))
            rate, scores = files_to_scores(paths, decoders, scorer, **way, count=FILES)
            whole.append(rate)
            assert [scores[str(path)] for path in paths] == expected  # whichever way an image takes
    torch.set_num_threads(before)
    ratios = [one / other for one, other in zip(whole, bare, strict=True)]
    report["bundles"][name] = {
        **way,
        "bare_images_per_second": statistics.median(bare),
        "files_images_per_second": statistics.median(whole),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
    print(json.dumps(report["bundles"][name]))  # noqa: T201
