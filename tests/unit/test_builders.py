"""Settings to parts."""

from datetime import timedelta

import pytest
from support.story import T0

from triage_agent.builders import build_retention
from triage_agent.intake.retention import Rule
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist


@pytest.mark.parametrize(
    ("storage", "originals", "quarantine"),
    [
        ({}, 30, None),
        ({"retention_days": 7, "quarantine_days": 90}, 7, 90),
        ({"retention_days": 0}, None, None),
        ({"keep_originals": "until_delivered"}, 0, None),
    ],
)
def test_how_long_files_stay_is_the_site_s(storage, originals, quarantine):
    keeper = build_retention(Settings(storage=storage), MemoryWorklist(), lambda: T0)
    days = [None if number is None else timedelta(days=number) for number in (originals, quarantine)]
    assert keeper._rule == Rule(originals=days[0], quarantine=days[1])
