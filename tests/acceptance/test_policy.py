"""A site's policy file at work: read at the start, tried before it is used, and told of by what it decided."""

import json

import pytest
from support.agent import free_port, triage_agent
from support.hl7 import Ris, omi, said
from support.xrays import radiograph, send

RULES = """\
[[rules]]
name = "ED children"
when = { location = ["ED"], age = { max = 15 } }
then = { priority = "stat", acr_category = "1", routes = ["pacs"] }

[[rules]]
name = "rest"
when = { finding = "abnormal" }
then = { priority = "urgent" }
"""
PID_OF_A_CHILD = "PID|||P1^^^ADT^MR||Doe^Jane||20200301|F"
CHANGED = RULES.replace("max = 15", "max = 3").replace('"abnormal"', '"normal"')


@pytest.fixture(scope="module")
def site(shared_agent, calm_bundle, shared_pacs, tmp_path_factory):
    """An agent with a policy file, an order of a child in the ED, and the child's study, decided."""
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text(RULES)
    listen = free_port()
    tables = f'[policy]\nfile = "{policy}"\n[hl7.listen]\nport = {listen}\nnetworks = ["127.0.0.1/32"]\n'
    agent = shared_agent(bundle=calm_bundle, pacs_port=shared_pacs.port, tables=tables, log_format="json")
    agent.policy = policy
    agent.child = radiograph(seed=1, AccessionNumber="C1", PatientID="P1")
    agent.other = radiograph(seed=2, PatientBirthDate="20200301")
    uid = f"|{agent.child.StudyInstanceUID}|".encode()
    message = omi(PID_OF_A_CHILD, "TQ1|||||||20260301100500||R^Routine^HL70485").replace(b"|A1|", b"|C1|")
    with Ris(listen) as ris:
        assert said(ris.send(message.replace(b"|1.2.3|", uid)))[0] == "AA"
    for image in (agent.child, agent.other):
        send(agent.port, image)
        agent.settled(image.StudyInstanceUID)
    return agent


def test_a_study_is_raised_by_what_its_order_says_and_says_so(site):
    detail = json.loads(site.cli("study", site.child.StudyInstanceUID, "--json").stdout)
    item = detail["item"]
    assert (item["rule"], item["priority"], item["acr_category"]) == ("ED children", "stat", "1")
    why = "the location ED; patients of at most 15 years"
    assert f'Rule "ED children" is for {why}.' in detail["reasons"]
    (made,) = [event["detail"] for event in detail["audit"] if event["action"] == "decision_made"]
    assert (made["rule_is_for"], made["routes"]) == (why, ["pacs"])
    assert {delivery["destination"] for delivery in detail["deliveries"]} == {"pacs"}


def test_a_study_without_an_order_says_what_was_not_known(site):
    detail = json.loads(site.cli("study", site.other.StudyInstanceUID, "--json").stdout)
    assert (detail["item"]["rule"], detail["item"]["priority"]) == ("no_rule", "routine")
    (said_of,) = [reason for reason in detail["reasons"] if "passed over" in reason]
    assert said_of == 'Rule "ED children" was passed over: the patient\'s location is not known.'


def test_the_rules_in_use_would_change_nothing(site):
    told = json.loads(site.cli("policy", "test", "--json").stdout)
    assert (told["studies"], told["unchanged"], told["changes"]) == (2, 2, [])


def test_other_rules_are_tried_on_what_was_decided(site, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(CHANGED)
    told = json.loads(site.cli("policy", "test", other, "--json").stdout)
    assert (told["studies"], told["raised"], told["lowered"], told["facts_of_today"]) == (2, 1, 1, 0)
    by_study = {one["study_instance_uid"]: one for one in told["changes"]}
    assert by_study[site.child.StudyInstanceUID]["after"]["rule"] == "rest"
    assert by_study[site.other.StudyInstanceUID]["after"]["priority"] == "urgent"
    shown = site.cli("policy", "test", other).stdout
    assert "Doe" not in shown
    assert site.item(site.child.StudyInstanceUID)["priority"] == "stat", "nothing was written"


def test_no_command_starts_with_a_mistake_in_the_file_and_each_tells_its_line(site, tmp_path):
    (tmp_path / "policy.toml").write_text(RULES.replace('"stat"', '"now"').replace('"pacs"', '"packs"'))
    config = tmp_path / "agent.toml"
    config.write_text(site.config.read_text().replace(str(site.policy), "policy.toml"))
    for command in (["serve"], ["check"], ["policy", "check"], ["worklist"]):
        done = triage_agent(*command, config=config)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        where = f'{tmp_path}/policy.toml:4: rule "ED children": '
        assert first == f"{where}routes: no [[routes]] leads to 'packs'; did you mean 'pacs'?"
        assert second.startswith(f"{where}then.priority: must be one of routine, urgent, stat")
