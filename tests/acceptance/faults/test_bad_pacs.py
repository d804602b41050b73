"""A PACS that refuses, hangs, hangs up, or is off: its reports wait for it, come once, and the RIS never waits."""

import pytest
from support.agent import eventually
from support.faultsite import FaultAgent, Modality, Peers, all_delivered
from support.trials import TRIALS
from support.verdict import Watch, judge

_IMPATIENT = "timeout_seconds = 1"  # for an answer, in place of 30


@pytest.fixture
def peers():
    with Peers() as both:
        yield both


@pytest.fixture
def agent(launcher, tmp_path, peers):
    made = FaultAgent(tmp_path / "agent", launcher, dicom=_IMPATIENT, **peers.ports)
    yield made
    made.close()


@pytest.fixture
def studies(images):
    return images.mixture(4)


def told(peers, studies):
    """Whether the RIS knows of each study."""
    return {str(one[0].StudyInstanceUID) for one in studies} <= peers.ris.studies()


def sent_to(agent, studies):
    modality = Modality(agent.port, studies)
    modality.start()
    modality.join(60)
    return modality


def assert_right(agent, studies, modality, peers, watch):
    verdict = judge(agent, studies, modality.acknowledged, peers, watch)
    assert verdict, verdict


# The long form tries every status; what each means is a table with a unit test of its own.
_PASSING = [0xA700, "hang", "abort", "close", "reject", "off", *([0x0110, 0x0124] if TRIALS else [])]
_FOR_GOOD = [0xC000, *([0xA900, 0x0122] if TRIALS else [])]


@pytest.mark.parametrize("behaviour", _PASSING)
def test_reports_wait_for_a_pacs_in_trouble_and_the_ris_does_not(agent, peers, studies, behaviour):
    if behaviour == "off":
        peers.pacs.stop()
    else:
        peers.pacs.behaviour = behaviour
    agent.start(wait=True)
    modality, watch = sent_to(agent, studies), Watch()
    eventually(lambda: told(peers, studies))
    eventually(lambda: behaviour == "off" or peers.pacs.associations > 1 or peers.pacs.tries > 1)
    assert peers.pacs.order == []
    assert {item["status"] for item in agent.worklist()} <= {"receiving", "ready", "scoring", "decided"}
    peers.pacs.behaviour = "ok"
    if behaviour == "off":
        peers.pacs.start()
    all_delivered(agent, studies, look=watch)
    assert_right(agent, studies, modality, peers, watch)


@pytest.mark.parametrize("status", _FOR_GOOD)
def test_a_report_that_is_refused_for_good_is_told_not_repeated_and_sent_when_a_person_asks(
    agent, peers, studies, status
):
    peers.pacs.behaviour = status
    agent.start(wait=True)
    modality, watch = sent_to(agent, studies), Watch()
    eventually(lambda: len(dead(agent)) == len(studies))
    assert peers.pacs.tries == len(studies)  # once each: what cannot succeed is not tried for ever
    for item in agent.worklist():
        assert (item["status"], f"0x{status:04X}" in item["status_reason"]) == ("decided", True)
    peers.pacs.behaviour = "ok"
    assert agent.cli("retry", "--failed").returncode == 0
    all_delivered(agent, studies, look=watch)
    assert_right(agent, studies, modality, peers, watch)


def dead(agent):
    return [
        one
        for item in agent.worklist()
        for one in agent.study(item["study_instance_uid"])["deliveries"]
        if one["state"] == "dead"
    ]


def test_a_pacs_that_answers_each_report_another_way_has_each_once_in_the_end(agent, peers, studies):
    peers.pacs.wanted = [0xA700, "abort", 0x0110, "abort", 0xA701, 0x0213]
    agent.start(wait=True)
    modality, watch = sent_to(agent, studies), Watch()
    all_delivered(agent, studies, look=watch)
    assert peers.pacs.wanted == []
    assert_right(agent, studies, modality, peers, watch)
