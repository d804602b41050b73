"""Images that are registered at the same time: on SQLite they share a transaction, and each is as if it were alone."""

import threading
import time

import pytest
from sqlalchemy import event
from sqlalchemy.exc import StatementError
from support.story import RULE, T0, received

from triage_agent.domain.ports import Registered
from triage_agent.worklist import SqlWorklist, open_engine

THREADS = 12


@pytest.fixture
def worklist(sqlite_url):
    engine = open_engine(sqlite_url)
    yield SqlWorklist(engine)
    engine.dispose()


@pytest.fixture
def commits(worklist):
    counted = []
    event.listen(worklist.database.engine, "commit", counted.append)
    return counted


def register_together(worklist, instances):
    """Register each in a thread of its own, none before all wait; what each got, in their order."""
    got = [None] * len(instances)

    def register(place, instance):
        try:
            got[place] = worklist.register(instance, RULE)
        except StatementError as error:
            got[place] = error

    threads = [threading.Thread(target=register, args=each) for each in enumerate(instances)]
    with worklist.database._writer.turn(30):
        for thread in threads:
            thread.start()
        while len(worklist.database._company._waiting) < len(threads):
            time.sleep(0.001)
    for thread in threads:
        thread.join(30)
    return got


def test_they_share_a_commit_and_all_are_on_the_worklist(worklist, commits):
    instances = [received(f"1.2.{number // 3}", f"1.3.{number}", T0) for number in range(THREADS)]
    assert register_together(worklist, instances) == [Registered.NEW] * THREADS
    assert len(commits) == 1
    assert sorted(item.instances for item in worklist.items()) == [3] * (THREADS // 3)


def test_the_same_instance_twice_in_one_transaction_is_new_once(worklist, commits):
    instances = [received("1.2.1", "1.3.1", T0) for _ in range(4)]
    assert sorted(register_together(worklist, instances)) == [Registered.DUPLICATE] * 3 + [Registered.NEW]
    assert len(commits) == 1
    assert worklist.items()[0].instances == 1


def test_one_that_cannot_be_registered_costs_the_others_nothing(worklist, commits):
    instances = [received("1.2.1", f"1.3.{number}", T0) for number in range(3)]
    wrong = received("1.2.2", "1.3.9", T0.replace(tzinfo=None))  # no zone: it is refused on its way into the database
    got = register_together(worklist, [*instances, wrong])
    assert got[:3] == [Registered.NEW] * 3
    assert isinstance(got[3], StatementError)
    assert [item.instances for item in worklist.items()] == [3]
