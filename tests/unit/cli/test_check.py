"""`check`: every part is looked at, and one that is not well does not hide the others."""

import json
import os
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from support.ports import free_port
from support.story import MODEL

from triage_agent.cli import doctor
from triage_agent.domain.errors import BundleError, DeliveryError
from triage_agent.domain.retrieval import RetrievalError
from triage_agent.domain.study import ImageScore

PEER = '[[dicom.peers]]\nname = "pacs"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 1\nmay = ["store"]\n'
ROUTE = '[[routes]]\nto = "pacs"\nsend = ["sr"]\n'


class FakeScorer:
    identity = MODEL

    def score(self, images, anatomies=()):
        return [ImageScore(probability=0.25) for _ in images]


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
        listening = f"[dicom]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
        config.write_text(f'data_dir = "{tmp_path}/var"\n[storage]\nlow_water_percent = 0\n{listening}{toml}')
        return run("check", "--config", config, *options)

    return call


def findings(done):
    return {finding["part"]: finding for finding in json.loads(done.out)}


def test_a_machine_that_is_well_passes(check):
    done = check("--json")
    assert done.code == 0
    assert {part: finding["ok"] for part, finding in findings(done).items()} == dict.fromkeys(
        [
            *(
                "configuration",
                "policy",
                "database",
                "spool",
                "audit",
                "backlog",
                "disk",
                "folder",
                "limits",
                "retention",
                "model",
                "clock",
            ),
            *("DICOM port", "web port", "peer pacs"),
        ],
        True,
    )
    assert "0.25" in findings(done)["model"]["says"]
    assert "not for clinical use" in findings(done)["model"]["says"]


def test_a_line_a_part_for_people(check, peer):
    peer.error = DeliveryError("PACS@127.0.0.1:1: no connection", permanent=False, remedy="check that it is running")
    done = check()
    assert done.code == 1
    lines = done.out.splitlines()
    assert len(lines) == 15
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
    assert sum(finding["ok"] for finding in found.values()) == 14


SHADOW = '[model]\nshadow = "embedded"\n'


def test_the_shadow_bundle_is_looked_at_where_there_is_one(check, monkeypatch):
    built = []
    monkeypatch.setattr(doctor, "build_shadow", lambda settings: built.append(settings.model.shadow) or FakeScorer())
    found = findings(check("--json", toml=PEER + ROUTE + SHADOW))["shadow model"]
    assert built == ["embedded"]
    assert found["ok"]
    assert "test image scored 0.25" in found["says"]
    assert "no effect on any priority" in found["says"]


def test_a_shadow_bundle_that_cannot_be_loaded_fails_its_line_alone(check, monkeypatch):
    monkeypatch.setattr(doctor, "build_shadow", Mock(side_effect=BundleError("no bundle there", remedy="name another")))
    done = check("--json", toml=PEER + ROUTE + SHADOW)
    assert done.code == 1
    assert [part for part, finding in findings(done).items() if not finding["ok"]] == ["shadow model"]
    found = findings(done)["shadow model"]
    assert (found["says"], found["remedy"]) == ("no bundle there (`serve` runs without it)", "name another")


def test_what_nobody_thought_of_is_named_as_a_bug(check, peer):
    peer.error = ZeroDivisionError("oops")
    found = findings(check("--json"))["peer pacs"]
    assert (found["says"], found["remedy"]) == ("ZeroDivisionError: oops", "report this as a bug")


def test_looking_makes_nothing(check, tmp_path):
    assert "`serve` makes the folders" in findings(check("--json"))["disk"]["says"]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "agent.toml"]


def test_a_folder_that_this_user_may_not_write_to_is_told(check, monkeypatch):
    monkeypatch.setattr(
        doctor.os, "access", lambda _, mode: not mode & os.W_OK
    )  # tests may run as root, who may everything
    found = findings(check("--json"))["disk"]
    assert not found["ok"]
    assert "as the user that `serve` runs as" in found["remedy"]


def test_a_data_dir_that_is_a_file_is_told(check, tmp_path):
    (tmp_path / "var").write_text("")
    assert "is not a folder" in findings(check("--json"))["disk"]["says"]


def test_counts_are_words(check):
    assert findings(check("--json"))["configuration"]["says"].startswith("1 DICOM peer, 1 route, ")


def test_whether_the_pacs_may_be_asked_is_looked_at_where_it_is_to_be_asked(check, monkeypatch):
    asked = '[study]\nask_peer = "pacs"\n' + PEER + ROUTE
    refused = DeliveryError("PACS: C-FIND is not accepted", permanent=True, remedy="the PACS must allow C-FIND")
    counter = SimpleNamespace(check_find=Mock(side_effect=refused))
    monkeypatch.setattr(doctor, "DicomClient", lambda _peer, **_options: counter)
    found = findings(check("--json", toml=asked))["asking pacs"]
    assert (found["ok"], found["remedy"]) == (False, "the PACS must allow C-FIND")


def test_whether_studies_can_be_fetched_is_looked_at_where_they_are_to_be(check, monkeypatch):
    fetched = PEER.replace("port = 1\n", 'port = 1\nretrieve = "move"\n') + ROUTE
    remedy = "make our AE title TRIAGE known to the PACS as a move destination"
    refused = RetrievalError("PACS: C-MOVE answered 0xA801", permanent=True, remedy=remedy)
    asked = SimpleNamespace(check=Mock(side_effect=refused))
    monkeypatch.setattr(doctor, "build_retrieval_client", lambda _settings, name: {"pacs": asked}[name])
    found = findings(check("--json", toml=fetched))["fetching from pacs"]
    assert (found["ok"], found["remedy"]) == (False, remedy)
    assert "fetching from pacs" not in findings(check("--json"))


def test_a_peer_that_does_not_answer_is_asked_once_and_every_line_has_its_remedy(check, peer, monkeypatch):
    peer.error = DeliveryError("PACS: no answer", permanent=False, remedy="see whether it runs", away=True)
    asked = Mock(return_value="answers")
    part = SimpleNamespace(check=asked, check_find=asked)
    for name in ("build_client", "build_retrieval_client"):
        monkeypatch.setattr(doctor, name, lambda _settings, _name: part)
    monkeypatch.setattr(doctor, "DicomClient", lambda _peer, **_options: part)
    toml = '[study]\nask_peer = "pacs"\n' + PEER + 'retrieve = "get"\n' + ROUTE + "commit = true\n"
    found = findings(check("--json", toml=toml))
    lines = ["peer pacs", "commitment by pacs", "asking pacs", "fetching from pacs"]
    assert [found[line]["ok"] for line in lines] == [False] * 4
    assert [found[line]["remedy"] for line in lines] == [
        "see whether it runs",
        *["mend what the line `peer pacs` says"] * 3,
    ]
    assert asked.call_count == 0
    peer.error = None
    found = findings(check("--json", toml=toml))
    assert [found[line]["ok"] for line in lines] == [True] * 4
    assert asked.call_count == 3


def test_a_peer_that_answers_and_refuses_one_thing_is_still_asked_for_the_others(check, peer, monkeypatch):
    peer.error = DeliveryError("PACS: takes no reports", permanent=True, remedy="let it take them")
    client = SimpleNamespace(check_find=Mock(return_value="C-FIND is taken"))
    monkeypatch.setattr(doctor, "DicomClient", lambda _peer, **_options: client)
    found = findings(check("--json", toml='[study]\nask_peer = "pacs"\n' + PEER + ROUTE))
    assert (found["peer pacs"]["ok"], found["asking pacs"]["ok"]) == (False, True)


def test_an_example_of_each_hl7_message_is_shown_as_its_receiver_gets_it(check):
    ris = '[[hl7.peers]]\nname = "ris"\nhost = "127.0.0.1"\nport = 1\nversion = "2.4"\nreceiving_application = "RIS"\n'
    fields = '[hl7.peers.fields]\n"OBR-4" = "{region}^AI^L"\n'
    route = '[[routes]]\nto = "ris"\nsend = ["hl7-oru", "hl7-orm"]\n'
    found = findings(check("--json", toml=PEER + ROUTE + ris + fields + route))
    says = {part: one["says"] for part, one in found.items()}
    assert says["hl7-oru to ris"].startswith("version 2.4, UNICODE UTF-8, for example: MSH|^~\\&|triage-agent||RIS|")
    assert " / OBR|1||EXAMPLE-1|XR_KNEE^AI^L|" in says["hl7-oru to ris"]
    assert " / ORC|XO||EXAMPLE-1|" in says["hl7-orm to ris"]
