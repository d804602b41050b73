"""Postgres, a listener and two workers: one of them dies, or the database drops everybody, and the others go on."""

import math
import random
import time
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy import make_url
from support.agent import eventually
from support.failpoints import FAILPOINTS, Failpoint
from support.faultsite import TABLES, Images, Modality
from support.trials import SEED, TRIALS, finish, run

_STUDIES = 5
_SHORT = 6
_LATEST_SECONDS = 2.5
_REACH_SECONDS = 30.0  # for the process that is to die to come to its step

pytestmark = [pytest.mark.external, pytest.mark.timeout(300 + 10 * TRIALS)]


@dataclass(frozen=True)
class Death:
    """One trial: somebody dies at a failpoint or at a time, or all connections to the database do."""

    number: int
    who: str
    failpoint: Failpoint | None
    after: float

    def __str__(self):
        return f"{self.number}: {self.who} {self.failpoint or f'after {self.after:.2f} s'}"


def deaths():
    chance = random.Random(SEED)
    points = chance.sample(FAILPOINTS, len(FAILPOINTS))
    made = []
    for number in range(math.ceil(TRIALS / 5) or _SHORT):
        point = points[number // 2 % len(points)] if number % 2 == 0 else None
        who = point.role if point else chance.choice(["listener", "worker", "database"])
        made.append(Death(number, who, point, chance.uniform(0.0, _LATEST_SECONDS)))
    return made


def drop_everybody(url):
    """End every connection to a database, as its restart would."""
    parts = make_url(url)
    with psycopg.connect(host=parts.query["host"], user=parts.username, dbname="postgres", autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend'",
            [parts.database],
        )


def started_again(agents):
    """An agent whose database goes while it starts ends, and whoever keeps services running starts it again."""

    def up(agent):
        if not agent.running:
            agent.start()
        return agent.get("readyz")[0] == 200

    for agent in agents:
        eventually(lambda one=agent: up(one))


def test_nothing_is_lost_doubled_or_lowered_whoever_of_several_processes_dies(launcher, make_database, tmp_path):
    def trial(lane, death):
        studies = Images(lane.folder(), seed=1000 * death.number).mixture(_STUDIES)
        url, shared = make_database(), lane.folder()
        site = {"data_dir": shared / "var", "tables": f'{TABLES}[database]\nurl = "{url}"\n'}
        agents = {
            "listener": lane.agent(role="listener", **site),
            "worker": lane.agent(role="worker", **site),
            "other": lane.agent(role="worker", **site),
        }
        doomed, reached = agents.get(death.who), True
        # The second worker takes over where the first dies at a step; else both race from the start.
        for name, agent in agents.items():
            if name != "other" or not death.failpoint:  # else it would be the one that comes to the step
                # Ready before the first image: what has come long before is complete when it is first looked at.
                agent.start(wait=bool(death.failpoint), failpoint=death.failpoint if agent is doomed else None)
        modality = Modality(agents["listener"].port, studies, pause=0.05)
        modality.start()
        if death.failpoint:
            reached = doomed.dies(_REACH_SECONDS) and doomed.reached
            agents["other"].start()
        else:
            time.sleep(death.after)  # the moment of the death is what is tried
        if doomed is None:
            drop_everybody(url)
            started_again(agents.values())
        else:
            doomed.kill()
            doomed.start()
        rest = [agent for agent in agents.values() if agent is not agents["listener"]]
        return finish(agents["listener"], studies, modality, lane.peers, reached=reached, beside=rest)

    tally = run(deaths(), trial, launcher, tmp_path)
    tally.write("kill-postgres")
    tally.assert_nothing_is_wrong()
