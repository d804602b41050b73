"""De-identified images before a validator that is not ours: what is left is still a whole image."""

import subprocess
from datetime import UTC, datetime

import pytest
from support.programs import require_program

from triage_agent.labelled.deidentify import Secret, deidentified
from triage_agent.simulation.phantom import simulate_study, study_datasets

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SECRET = Secret(b"s" * 32)


@pytest.mark.external
def test_dciodvfy_finds_no_error(tmp_path):
    validator = require_program("dciodvfy")
    study, seen = simulate_study("XR_KNEE", abnormal=True, seed=2, long_side=128), set()
    for seed in range(12):
        dataset = study_datasets(study, seed, now=NOW)[0]
        if dataset.Modality in seen:
            continue
        seen.add(dataset.Modality)
        dataset.save_as(tmp_path / "in.dcm", enforce_file_format=True)
        deidentified(tmp_path / "in.dcm", "patient-1", SECRET).save_as(tmp_path / "out.dcm", enforce_file_format=True)
        answer = subprocess.run([validator, str(tmp_path / "out.dcm")], capture_output=True, text=True, check=False)
        lines = (answer.stdout + answer.stderr).splitlines()
        assert [line for line in lines if line.startswith("Error")] == [], dataset.Modality
    assert seen == {"DX", "CR"}
