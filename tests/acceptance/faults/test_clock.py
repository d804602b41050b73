"""The clock steps an hour forth and back: nothing is stranded, lowered or sent twice."""

import pytest
from support.agent import eventually
from support.faultsite import FaultAgent, Modality, Peers, all_delivered
from support.verdict import Watch, judge

from triage_agent.worklist import SqlWorklist

_HOUR = 3600.0
_BROUGHT_NEAR = pytest.mark.skipif(
    not hasattr(SqlWorklist, "bring_deadlines_near"), reason="deadlines are not brought near in this version"
)
_STEPS = [pytest.param(_HOUR, id="forth"), pytest.param(-_HOUR, id="back", marks=_BROUGHT_NEAR)]


@pytest.fixture
def peers():
    with Peers() as both:
        yield both


@pytest.fixture
def agent(launcher, tmp_path, peers):
    made = FaultAgent(tmp_path / "agent", launcher, **peers.ports)
    made.clock.write_text("0")
    yield made
    made.close()


def step(agent, seconds):
    """Set the agent's clock to so far ahead of ours."""
    fresh = agent.clock.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(agent.clock)


def sent_to(agent, studies):
    modality = Modality(agent.port, studies)
    modality.start()
    modality.join(60)
    return modality.acknowledged


@pytest.mark.parametrize("ahead", _STEPS)
def test_studies_in_every_state_go_on_when_the_clock_steps(agent, peers, images, ahead):
    studies, watch = images.mixture(6), Watch()
    agent.start(wait=True)
    modality = Modality(agent.port, studies, pause=0.15)
    modality.start()
    eventually(lambda: len(modality.acknowledged) >= 4)
    step(agent, ahead)
    modality.join(60)
    all_delivered(agent, studies, look=watch)
    verdict = judge(agent, studies, modality.acknowledged, peers, watch)
    assert verdict, verdict


@pytest.mark.parametrize("away", [False, True], ids=["refusing", "away"])
@pytest.mark.parametrize("ahead", _STEPS)
def test_reports_that_wait_for_the_pacs_are_sent_when_the_clock_has_stepped(agent, peers, images, ahead, away):
    studies, watch = images.mixture(3), Watch()
    if away:
        peers.pacs.stop()
    peers.pacs.behaviour = 0xA700
    agent.start(wait=True)
    acknowledged = sent_to(agent, studies)
    eventually(lambda: {item["status"] for item in agent.worklist()} == {"decided"})
    eventually(lambda: away or peers.pacs.tries > 2)
    step(agent, ahead)
    peers.pacs.behaviour = "ok"
    if away:
        peers.pacs.start()
    all_delivered(agent, studies, look=watch)
    verdict = judge(agent, studies, acknowledged, peers, watch)
    assert verdict, verdict


@pytest.mark.parametrize("ahead", _STEPS)
def test_what_a_dead_process_held_goes_on_when_the_clock_has_stepped_meanwhile(agent, peers, images, ahead):
    studies, watch = images.mixture(3), Watch()
    peers.pacs.behaviour = "hang"
    agent.start(wait=True)
    acknowledged = sent_to(agent, studies)
    eventually(lambda: {item["status"] for item in agent.worklist()} == {"decided"} and peers.pacs.tries)
    agent.forget()
    agent.kill()  # with deliveries in hand
    step(agent, ahead)
    peers.pacs.behaviour = "ok"
    agent.start()
    all_delivered(agent, studies, look=watch)
    verdict = judge(agent, studies, acknowledged, peers, watch)
    assert verdict, verdict


@_BROUGHT_NEAR
def test_a_clock_that_keeps_jumping_costs_nothing(agent, peers, images):
    studies, watch = images.mixture(8), Watch()
    agent.start(wait=True)
    modality = Modality(agent.port, studies, pause=0.1)
    modality.start()
    for ahead in (_HOUR, 0, -_HOUR, 0, _HOUR, -_HOUR, 0):
        step(agent, ahead)
        modality.join(0.3)
    modality.join(60)
    all_delivered(agent, studies, look=watch)
    verdict = judge(agent, studies, modality.acknowledged, peers, watch)
    assert verdict, verdict
