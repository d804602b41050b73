"""Open sessions on both databases: which go on, whose they are, and that ending them is audited with it."""

from datetime import timedelta

import pytest
from support.story import T0

from triage_agent.domain.accounts import Account, NewSession, Role
from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import SqlAccounts, SqlAuditTrail, SqlWorklist
from triage_agent.worklist.sessions import SqlSessions

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
IDLE = T0 - HOUR
BY = ("admin", "10.0.0.1", T0)


class Desk:
    def __init__(self, engine):
        database = SqlWorklist(engine).database
        self.accounts, self.sessions = SqlAccounts(database), SqlSessions(database)
        self.trail = SqlAuditTrail(database)
        for name in ("ada", "bob"):
            self.accounts.make_account(Account(name=name, roles=frozenset({Role.RADIOLOGIST})), "test", T0)

    def begin(self, digest, account="ada", at=T0, lasts=HOUR, **details):
        new = NewSession(digest=digest, csrf="c", ends_at=at + lasts, **details)
        assert self.accounts.begin_session(account, new, "10.0.0.9", at)

    def open(self, account="ada", now=T0, limit=10):
        return [one.digest for one in self.sessions.open_of(account, now, now - HOUR, limit)]

    def audited(self):
        found = self.trail.records(AuditQuestion(action=AuditAction.ACCOUNT_CHANGED))
        return [one.event for one in found if one.event.detail["change"] == "sessions ended"]


@pytest.fixture
def desk(engine):
    return Desk(engine)


def test_an_open_session_is_told_with_where_and_when_it_began(desk):
    desk.begin("d1", browser="Firefox on Windows", strong=True)
    assert desk.accounts.signed_in("d1", T0 + 5 * MINUTE, IDLE) is not None
    (one,) = desk.sessions.open_of("ada", T0 + 5 * MINUTE, IDLE, 10)
    assert (one.address, one.browser, one.strong) == ("10.0.0.9", "Firefox on Windows", True)
    assert (one.began_at, one.seen_at, one.ends_at) == (T0, T0 + 5 * MINUTE, T0 + HOUR)


def test_what_is_longer_than_a_column_is_cut(desk):
    new = NewSession(digest="d1", csrf="c", ends_at=T0 + HOUR, browser="x" * 500)
    assert desk.accounts.begin_session("ada", new, "y" * 500, T0)
    (one,) = desk.sessions.open_of("ada", T0, IDLE, 10)
    assert (len(one.address), len(one.browser)) == (64, 60)


def test_only_those_that_go_on_are_open_the_last_used_first(desk):
    desk.begin("old", at=T0 - 2 * HOUR, lasts=5 * HOUR)  # not used since
    desk.begin("over", at=T0 - HOUR / 2, lasts=MINUTE)
    desk.begin("out")
    desk.accounts.end_session("out", T0)
    desk.begin("first", at=T0 - 2 * MINUTE)
    desk.begin("last", at=T0 - MINUTE)
    desk.begin("bobs", "bob")
    assert desk.open() == ["last", "first"]
    assert desk.open(limit=1) == ["last"]
    assert desk.sessions.number(T0, IDLE) == {"ada": 2, "bob": 1}


def test_a_session_is_ended_once_and_by_name(desk):
    desk.begin("d1")
    desk.begin("d2")
    assert desk.sessions.end("bob", ["d1"], *BY) == 0  # not his
    assert desk.sessions.end("ada", [], *BY) == 0
    assert desk.audited() == []
    assert desk.sessions.end("ada", ["d1"], *BY) == 1
    assert desk.sessions.end("ada", ["d1"], *BY) == 0
    assert desk.open() == ["d2"]
    assert desk.accounts.signed_in("d1", T0, IDLE) is None
    (event,) = desk.audited()
    assert event.actor == "admin"
    assert {key: event.detail[key] for key in ("account", "sessions", "address")} == {
        "account": "ada",
        "sessions": 1,
        "address": "10.0.0.1",
    }


def test_all_others_end_at_once(desk):
    for digest in ("d1", "d2", "d3"):
        desk.begin(digest)
    desk.begin("bobs", "bob")
    assert desk.sessions.end_others("ada", "d2", *BY) == 2
    assert desk.open() == ["d2"]
    assert desk.open("bob") == ["bobs"]
    assert desk.sessions.end_others("ada", "", *BY) == 1
    assert [event.detail["sessions"] for event in desk.audited()] == [1, 2]
