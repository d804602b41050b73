"""Where benchmarks write, and what they need."""

import time
from pathlib import Path

import pytest
import torch
from support.benchnote import note, stamp
from support.launcher import Launcher

FOLDER = Path(__file__).parents[2] / "build" / "bench"


@pytest.fixture(scope="session")
def gpu():
    """The CUDA device; without one the benchmark is left out and says so."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU here: run `make bench` on a machine that has one")
    return torch.device("cuda", 0)


@pytest.fixture(scope="module")
def launcher():
    """Starts agents that are whole but for their model."""
    running = Launcher()
    yield running
    running.close()


@pytest.fixture(scope="session")
def results():
    """The folder for figures; each file that is written gets a note of the machine, the commit and the command."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    began, made = time.time(), note()
    yield FOLDER
    stamp(FOLDER, began, made)
