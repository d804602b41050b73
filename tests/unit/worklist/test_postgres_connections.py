"""Connections to Postgres: which of them are asked whether they live before they are used."""

import time
from types import SimpleNamespace

import pytest

from triage_agent.worklist.postgres import PING_SECONDS, ping_briefly


def connection(*, answered=0.0, broken=False):
    return SimpleNamespace(answered_at=time.monotonic() - answered, broken=broken, answer_seconds=None)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def dialect(asked):
    made = SimpleNamespace(do_ping=lambda one: asked.append(one.answer_seconds) or True)
    ping_briefly(made)
    return made


def test_one_that_had_an_answer_just_now_is_used_as_it_is(dialect, asked):
    assert dialect.do_ping(connection())
    assert asked == []


@pytest.mark.parametrize("idle", [connection(answered=2.0), connection(broken=True)], ids=["idle", "broken"])
def test_another_one_is_asked_and_not_waited_for_long(dialect, asked, idle):
    assert dialect.do_ping(idle)
    assert asked == [PING_SECONDS]
    assert idle.answer_seconds is None
