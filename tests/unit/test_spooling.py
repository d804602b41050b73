"""The spool that the settings make: whether folders are taken for durable."""

import pytest

from triage_agent.intake.objects.ahead import WriteAhead
from triage_agent.settings import Settings
from triage_agent.spooling import build_spool

POSTGRES = {"url": "postgresql+psycopg://triage@127.0.0.1/triage"}


@pytest.mark.parametrize(
    ("settings", "remembered"),
    [
        ({}, True),
        ({"dicom": {"processes": 2}}, False),
        ({"database": POSTGRES}, False),
    ],
)
def test_folders_are_remembered_only_where_no_other_process_makes_and_removes_them(tmp_path, settings, remembered):
    spool = build_spool(Settings.model_validate({"data_dir": tmp_path, **settings}))
    assert bool(spool._store._most_remembered) is remembered


def test_listener_processes_share_the_folder_of_what_waits_for_the_store(tmp_path):
    assert not WriteAhead(tmp_path, 0.0).spool._store._most_remembered
