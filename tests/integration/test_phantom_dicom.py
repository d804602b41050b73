"""Simulated studies before a validator that is not ours."""

import subprocess
from datetime import UTC, datetime

import pytest
from support.programs import require_program

from triage_agent.simulation.phantom import ANATOMIES, simulate_study, study_datasets

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
ROOMS = {(modality, f"MONOCHROME{number}") for modality in ("DX", "CR") for number in (1, 2)}


@pytest.mark.external
@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_dciodvfy_finds_no_error_whatever_room_took_the_images(anatomy, tmp_path):
    validator = require_program("dciodvfy")
    study = simulate_study(anatomy, abnormal=True, seed=2, long_side=128)
    rooms = set()
    for seed in range(60):
        datasets = study_datasets(study, seed, now=NOW)
        room = (datasets[0].Modality, datasets[0].PhotometricInterpretation)
        if room in rooms:
            continue
        rooms.add(room)
        for number, dataset in enumerate(datasets):
            path = tmp_path / f"{seed}-{number}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            answer = subprocess.run([validator, str(path)], capture_output=True, text=True, check=False)
            lines = (answer.stdout + answer.stderr).splitlines()
            assert [line for line in lines if line.startswith("Error")] == [], room
    assert rooms == ROOMS
