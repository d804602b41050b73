"""`check`: every part is looked at, and one that is not well does not hide the others."""

import json

import pytest
from support.story import MODEL

from triage_agent.cli import doctor
from triage_agent.domain.errors import BundleError, DeliveryError

PEER = '[[dicom.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\nmay = ["store"]\n'
ROUTE = '[[routes]]\nto = "pacs"\nsend = ["sr"]\n'


class FakeScorer:
    identity = MODEL

    def score(self, images):
        return [0.25] * len(images)


class FakePeer:
    error = None

    def check(self):
        if self.error:
            raise self.error
        return "answers C-ECHO"


@pytest.fixture
def peer(monkeypatch):
    peer = FakePeer()
    monkeypatch.setattr(doctor, "build_transports", lambda _settings: {"pacs": peer})
    monkeypatch.setattr(doctor, "build_scorer", lambda _settings: FakeScorer())
    return peer


@pytest.fixture
def check(run, tmp_path, peer):
    def call(*options, toml=PEER + ROUTE):
        config = tmp_path / "agent.toml"
        config.write_text(f'data_dir = "{tmp_path}"\n[storage]\nlow_water_percent = 0\n{toml}')
        return run("check", "--config", config, *options)

    return call


def findings(done):
    return {finding["part"]: finding for finding in json.loads(done.out)}


def test_a_machine_that_is_well_passes(check):
    done = check("--json")
    assert done.code == 0
    assert {part: finding["ok"] for part, finding in findings(done).items()} == dict.fromkeys(
        ["configuration", "database", "disk", "model", "clock", "peer pacs"], True
    )
    assert "0.25" in findings(done)["model"]["says"]
    assert "not for clinical use" in findings(done)["model"]["says"]


def test_a_line_a_part_for_people(check, peer):
    peer.error = DeliveryError("PACS@127.0.0.1:1: no connection", permanent=False, remedy="check that it is running")
    done = check()
    assert done.code == 1
    lines = done.out.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "FAIL  peer pacs: PACS@127.0.0.1:1: no connection; check that it is running"
    assert all(line.startswith("ok    ") for line in lines[:-1])


def test_a_configuration_that_leads_nowhere_is_told(check):
    assert "results go nowhere" in findings(check("--json", toml=PEER))["configuration"]["says"]
    alone = findings(check("--json", toml=""))
    assert alone["configuration"]["ok"] is False
    assert alone["configuration"]["remedy"]


def test_a_bundle_that_cannot_be_loaded_hides_no_other_part(check, monkeypatch):
    def fail(_settings):
        raise BundleError("no bundle there", remedy="name another")

    monkeypatch.setattr(doctor, "build_scorer", fail)
    done = check("--json")
    assert done.code == 1
    found = findings(done)
    assert (found["model"]["ok"], found["model"]["says"], found["model"]["remedy"]) == (
        False,
        "no bundle there",
        "name another",
    )
    assert sum(finding["ok"] for finding in found.values()) == 5


def test_what_nobody_thought_of_is_named_as_a_bug(check, peer):
    peer.error = ZeroDivisionError("oops")
    found = findings(check("--json"))["peer pacs"]
    assert (found["says"], found["remedy"]) == ("ZeroDivisionError: oops", "report this as a bug")


def test_looking_makes_no_database(check, tmp_path):
    check()
    assert not (tmp_path / "triage.db").exists()
