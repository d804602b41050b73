"""`policy check` and `policy test`, as a person and as a program read them."""

import json

import pytest
from support.story import STUDY, scored

from triage_agent.cli import policies
from triage_agent.domain.orders import Message, Order
from triage_agent.domain.vocabulary import Priority
from triage_agent.settings import build_settings

LOUD = """\
[[rules]]
name = "ED"
when = { finding = "abnormal", location = ["ED"] }
then = { priority = "stat", acr_category = "1" }

[[rules]]
name = "abnormal"
when = { finding = "abnormal" }
then = { priority = "urgent", acr_category = "2" }
"""


@pytest.fixture
def site(story, monkeypatch, tmp_path):
    """A site with the built-in rules, and a file to try; the clock of the commands is the story's."""
    monkeypatch.setattr(policies, "load_settings", lambda _config: build_settings({}, "agent.toml"))
    monkeypatch.setattr(policies, "read_worklist", lambda _settings: story.worklist)
    monkeypatch.setattr(policies, "_now", lambda: story.now)
    file = tmp_path / "policy.toml"
    file.write_text(LOUD)
    return file


def decide(story, study=STUDY, probability=0.8, rule="abnormal", **changes):
    details = {"patient_name": "Doe^Jane", "patient_id": "P1", "accession_number": f"A{study[-1]}"}
    known = story.claimed(study, **details).known
    image = scored(f"{study}.1", probability)
    assert story.decide(study=study, probability=probability, rule=rule, known=known, assessments=[image], **changes)


def order(story, accession_number, **said):
    told = Order(placer_order_number=accession_number, accession_number=accession_number, **said)
    story.worklist.keep_orders([told], Message(control_id="M1", sender="RIS", received_at=story.tick()))


def test_rules_are_told_as_sentences(run, site):
    done = run("policy", "check", site)
    assert done.code == 0
    assert done.out.splitlines() == [
        '1. Rule "ED", for an abnormal finding; the location ED: raise to stat, ACR category 1.',
        '2. Rule "abnormal", for an abnormal finding: raise to urgent, ACR category 2.',
    ]
    assert 'Rule "abnormal"' in run("policy", "check").out, "without a file, the configuration's"


def test_doubts_are_told_with_their_line_and_do_not_fail(run, site):
    site.write_text(LOUD + LOUD.replace('name = "', 'name = "again '))
    done = run("policy", "check", site)
    assert (done.code, done.err.count("never fires")) == (0, 2)
    assert f"{site}:10: rule 'again ED' never fires: 'ED', which stands before it" in done.err.replace("\n", " ")
    (first, _) = json.loads(run("policy", "check", site, "--json").out)["doubts"]
    assert (first["line"], first["remedy"]) == (10, "put it before that one, or take it out")


def test_every_mistake_is_a_line_and_the_code_is_2(run, site):
    site.write_text(LOUD.replace("stat", "now").replace("urgent", "soon"))
    for command in ("check", "test"):
        done = run("policy", command, site)
        assert (done.code, done.out) == (2, "")
        told = done.err.splitlines()
        assert [line.split(": ")[0] for line in told] == [f"{site}:4", f"{site}:9"]


def test_what_would_have_changed_is_told_without_a_patient(run, site, story):
    order(story, "A1", patient_location="ED R1", priority=Priority.ROUTINE)
    decide(story)
    decide(story, "1.2.2", 0.1, rule="normal", priority=Priority.ROUTINE, acr_category=None)
    decide(story, "1.2.3")
    done = run("policy", "test", site)
    assert done.code == 0
    assert "3 studies decided in the last 30 days: 1 raised, 0 less urgent, 1 by another rule, 1 unchanged" in done.out
    assert "URGENT by abnormal, ACR 2" in done.out
    assert "STAT by ED, ACR 1" in done.out
    assert "Doe" not in done.out
    told = json.loads(run("policy", "test", site, "--json").out)
    assert (told["studies"], told["raised"], told["lowered"], told["otherwise"], told["unchanged"]) == (3, 1, 0, 1, 1)
    raised = told["changes"][0]
    assert (raised["study_instance_uid"], raised["accession_number"], raised["effect"]) == (STUDY, "A1", "raised")
    assert (raised["before"]["priority"], raised["after"]["priority"]) == ("urgent", "stat")
    assert raised["after"]["rule_is_for"] == "an abnormal finding; the location ED"
    assert {one["rule"]: (one["before"], one["after"]) for one in told["rules"]} == {
        "ED": (0, 1),
        "abnormal": (2, 1),
        "no_rule": (0, 1),
        "normal": (1, 0),
    }


def test_what_would_only_go_elsewhere_is_counted_and_shown(run, site, story, monkeypatch):
    peer = {"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104, "may": ["store"]}
    with_route = {"dicom": {"peers": [peer]}, "routes": [{"to": "pacs", "send": ["sr"]}]}
    monkeypatch.setattr(policies, "load_settings", lambda _config: build_settings(with_route, "agent.toml"))
    decide(story)
    site.write_text(LOUD.replace('acr_category = "2"', 'acr_category = "2", routes = ["pacs"]'))
    told = json.loads(run("policy", "test", site, "--json").out)
    assert (told["otherwise"], told["unchanged"]) == (1, 0)
    (changed,) = told["changes"]
    assert (changed["before"]["routes"], changed["after"]["routes"]) == ([], ["pacs"])
    assert "URGENT by abnormal, ACR 2, to pacs" in " ".join(run("policy", "test", site).out.split())


def test_the_rules_in_use_change_nothing_and_nothing_is_written(run, site, story):
    decide(story)
    before = story.worklist.study(STUDY)
    told = json.loads(run("policy", "test", "--json").out)
    assert (told["studies"], told["unchanged"], told["changes"]) == (1, 1, [])
    assert story.worklist.study(STUDY) == before


def test_only_the_last_days_are_looked_at(run, site, story):
    decide(story)
    story.tick(story.now - story.now.replace(day=1) + (story.now.replace(month=4) - story.now))
    assert json.loads(run("policy", "test", site, "--json", "--days", "3").out)["studies"] == 0
    assert json.loads(run("policy", "test", site, "--json", "--days", "90").out)["studies"] == 1
