"""How much is done at once, where the settings say it and where they leave it open."""

from types import SimpleNamespace

import pytest

from triage_agent.pace import Pace, pace_of
from triage_agent.settings import Settings

CPU, GPU = SimpleNamespace(device="cpu", sampled_side=None), SimpleNamespace(device="cuda:0", sampled_side=448)
APART = SimpleNamespace(device="cpu", sampled_side=None, apart=True)
ELSEWHERE = SimpleNamespace()


def settings(**worker):
    return Settings.model_validate({"worker": worker, "model": {"batch": 32}})


@pytest.mark.parametrize(
    ("scorer", "cores", "expected"),
    [
        (CPU, 1, Pace(decoders=1, loops=1, together=1, side=None)),
        (CPU, 2, Pace(decoders=1, loops=1, together=1, side=None)),
        (CPU, 64, Pace(decoders=4, loops=1, together=1, side=None)),
        (APART, 2, Pace(decoders=1, loops=2, together=1, side=None)),
        (GPU, 16, Pace(decoders=14, loops=4, together=32, side=448)),
        (GPU, 2, Pace(decoders=1, loops=4, together=32, side=448)),
        (ELSEWHERE, 8, Pace(decoders=6, loops=4, together=32, side=None)),
    ],
)
def test_what_is_left_open_follows_the_model_and_the_machine(scorer, cores, expected):
    assert pace_of(settings(), scorer, cores) == expected


def test_what_the_site_says_holds():
    pace = pace_of(settings(decoders=7, loops=2), CPU, 4)
    assert (pace.decoders, pace.loops, pace.names) == (7, 2, ["worker", "worker-2"])


def test_of_several_loops_one_is_for_images_alone():
    assert pace_of(settings(loops=3), CPU, 4).for_images == ["worker"]
    assert pace_of(settings(loops=1), CPU, 4).for_images == []
