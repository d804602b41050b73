"""The banner: every trouble is told with its true time, and nothing that has not lasted."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.domain.backlog import Backlog, Pending
from triage_agent.domain.errors import ModelUnavailableError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.web.site.condition import Condition

T0 = datetime(2026, 3, 1, 14, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOOK = timedelta(seconds=10)


class Agent:
    """What the banner looks at, as it is at the moment."""

    def __init__(self):
        self.now, self.seconds = T0, 0.0
        self.waiting, self.since, self.held = 0, None, 0
        self.pending, self.refused = {}, set()
        self.away, self.takes = False, 0.0
        self.condition = Condition(self, ["pacs", "ris"], lambda: self.now, lambda: self.seconds)

    def backlog(self, _now):
        self.seconds += self.takes
        if self.away:
            raise WorklistUnavailableError("away", remedy="wait")
        pending = {name: Pending(number=1, since=since) for name, since in self.pending.items()}
        return Backlog(waiting=self.waiting, since=self.since, held=self.held, pending=pending, retrievals=0)

    def trouble_at(self, destination):
        return "refused by PACS^SECRET" if destination in self.refused else None

    def look(self, after=LOOK):
        self.now += after
        self.condition.step()
        return [(one.what, one.since) for one in self.condition.troubles()]

    def waits(self, since, waiting=1):
        self.waiting, self.since = waiting, since


@pytest.fixture
def agent():
    return Agent()


def looks_for(agent, how_long):
    """Look every ten seconds for so long, and return what the last look found."""
    found = []
    for _ in range(int(how_long / LOOK)):
        found = agent.look()
    return found


def test_an_agent_that_works_has_no_trouble(agent):
    assert looks_for(agent, MINUTE) == []


def test_studies_that_no_worker_takes_up_are_told_of_from_the_first_look(agent):
    """A role that has nothing but the database, and has just begun."""
    agent.waits(T0 - 20 * MINUTE, 3)
    assert agent.look() == [("3 studies wait to be scored, and no worker takes them up.", T0 - 20 * MINUTE)]
    (trouble,) = agent.condition.troubles()
    assert trouble.means.startswith("Raises may be missing.")


def test_a_worker_that_is_behind_is_another_thing_than_none(agent):
    agent.held = 2
    agent.waits(T0 - 6 * MINUTE)
    assert agent.look() == [("1 study waits to be scored.", T0 - 6 * MINUTE)]


def test_a_study_may_wait_for_minutes(agent):
    agent.look()
    agent.waits(agent.now)
    assert looks_for(agent, 5 * MINUTE) == []
    assert agent.look() != []
    agent.waits(None, 0)
    assert agent.look() == []


def test_an_old_study_that_is_put_back_by_hand_has_not_waited_since_its_images_came(agent):
    agent.look()
    put_back = agent.now
    agent.waits(T0 - timedelta(days=3))
    assert looks_for(agent, 5 * MINUTE) == []
    assert agent.look()[0][1] == put_back


def test_of_several_put_back_none_cries_wolf_when_the_first_is_taken_up(agent):
    agent.look()
    agent.waits(T0 - timedelta(days=3), 2)
    agent.look()
    agent.waits(T0 - timedelta(days=2))
    assert agent.look() == []


def test_results_that_a_destination_refuses_for_minutes_are_told_of_without_its_words(agent):
    agent.pending = {"pacs": T0 - 10 * MINUTE, "ris": T0 - 10 * MINUTE}
    agent.refused = {"pacs"}
    assert agent.look() == [("Results do not reach pacs.", T0 - 10 * MINUTE)]
    assert all("SECRET" not in one.what + one.means for one in agent.condition.troubles())
    agent.pending = {}
    assert agent.look() == []


def test_a_destination_that_fails_once_is_no_trouble(agent):
    agent.look()
    agent.pending, agent.refused = {"pacs": agent.now}, {"pacs"}
    assert looks_for(agent, 4 * MINUTE) == []


def test_a_model_that_is_down_is_told_of_once_it_has_lasted(agent):
    def down():
        raise ModelUnavailableError("CUDA error", remedy="restart")

    agent.condition.checks = {"model": down}
    assert agent.look() == []
    began = agent.now
    assert looks_for(agent, timedelta(seconds=20)) == []
    assert agent.look() == [("The model does not answer.", began)]
    agent.condition.checks = {"model": lambda: None}
    assert agent.look() == []


def test_a_disk_that_is_full_is_told_of_and_a_start_is_not(agent):
    def full():
        raise StorageExhaustedError("5 % are free", remedy="make room")

    agent.condition.checks = {"disk": full, "start": full}
    looks_for(agent, MINUTE)
    assert [one.what for one in agent.condition.troubles()] == ["The disk is full."]


@pytest.mark.parametrize("changes", [{"away": True}, {"takes": 3.0}], ids=["away", "slow"])
def test_a_database_that_is_away_or_slow_is_told_of(agent, changes):
    for name, value in changes.items():
        setattr(agent, name, value)
    agent.look()
    began = agent.now
    assert looks_for(agent, MINUTE) == [("The database does not answer as it should.", began)]


def test_one_slow_look_is_no_trouble(agent):
    agent.takes = 3.0
    agent.look()
    agent.takes = 0.0
    assert looks_for(agent, MINUTE) == []


def test_looks_that_come_to_no_end_are_told_of(agent):
    agent.look()
    last, agent.now = agent.now, agent.now + 2 * MINUTE
    assert [(one.what, one.since) for one in agent.condition.troubles()] == [
        ("The database does not answer as it should.", last)
    ]
