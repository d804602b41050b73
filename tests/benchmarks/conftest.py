"""Where benchmarks write, and what they need."""

from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "build" / "bench"


@pytest.fixture(scope="session")
def gpu():
    """The CUDA device; without one the benchmark is left out and says so."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here: run `make bench` on a machine that has one")
    return torch.device("cuda", 0)


@pytest.fixture(scope="session")
def results():
    FOLDER.mkdir(parents=True, exist_ok=True)
    return FOLDER
