"""Quiet hours that pass midnight, on a running agent whose clock is moved: held, summed up once, then told at once."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from support.agent import eventually
from support.faultsite import TABLES, FaultAgent, Modality
from support.launcher import PROBABILITIES
from support.mail_server import mail_server
from support.ports import free_port

from triage_agent.worklist.notices import notices_of

_VIENNA = ZoneInfo("Europe/Vienna")
_ALARMING = max(PROBABILITIES)
_CHANNEL = """
[[notify.email]]
name = "{name}"
on = ["stat"]
most_per_hour = 1
host = "127.0.0.1"
port = {port}
security = "none"
from = "triage@hospital.example"
to = ["admin@hospital.example"]
{more}
"""
_RULES = """
[[policy.rules]]
name = "abnormal"
when = { finding = "abnormal" }
priority = "stat"
[notify]
time_zone = "Europe/Vienna"
"""


@pytest.fixture
def mail():
    with mail_server() as quiet, mail_server() as awake:
        yield quiet, awake


@pytest.fixture
def agent(launcher, tmp_path, mail):
    quiet, awake = mail
    channels = _CHANNEL.format(name="quiet", port=quiet.port, more='quiet_hours = "22:00-07:00"')
    channels += _CHANNEL.format(name="awake", port=awake.port, more="")
    made = FaultAgent(tmp_path / "agent", launcher, tables=TABLES + _RULES + channels, pacs_port=free_port(), sends=())
    yield made
    made.close()


class Night:
    """Sets the agent's clock to times of one night to come, by Vienna's clock."""

    def __init__(self, agent):
        self._agent = agent
        self._day = datetime.now(_VIENNA).date() + timedelta(days=1)

    def comes_to(self, hour, minute, days=0):
        day = self._day + timedelta(days=days)
        then = datetime(day.year, day.month, day.day, hour, minute, tzinfo=_VIENNA)
        fresh = self._agent.clock.with_suffix(".new")
        fresh.write_text(str((then - datetime.now(UTC)).total_seconds()))
        fresh.replace(self._agent.clock)


def told(server):
    """What the messages are about, without the prefix."""
    return [message["Subject"].split("] ")[1] for _, message in server.messages]


def waiting(agent):
    return {record.channel: record.waiting for record in notices_of(agent._open()).records()}


def found(agent, images, studies):
    """Send studies that are found to be STAT."""
    modality = Modality(agent.port, [images.study(_ALARMING) for _ in range(studies)])
    modality.start()
    modality.join(60)
    assert len(modality.acknowledged) == studies


def test_what_comes_up_before_and_after_midnight_is_one_message_in_the_morning(agent, mail, images):
    quiet, awake = mail
    night = Night(agent)
    night.comes_to(23, 30)
    agent.start(wait=True)
    found(agent, images, 8)
    eventually(lambda: waiting(agent) == {"quiet": 8, "awake": 0})
    night.comes_to(0, 30, days=1)
    found(agent, images, 2)
    eventually(lambda: waiting(agent) == {"quiet": 10, "awake": 0})
    assert (told(quiet), len(told(awake)) >= 2) == ([], True)
    night.comes_to(7, 0, days=1)
    eventually(lambda: waiting(agent)["quiet"] == 0)
    assert told(quiet) == ["10 notices (10 STAT)"]
    found(agent, images, 1)
    eventually(lambda: len(told(quiet)) == 2)
    assert told(quiet)[1] == "A study was found to be read as STAT"
