"""Second factors on both databases: what is good once is good once, whoever comes at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from support.story import Story

from triage_agent.domain.accounts import Account, NewSession, Role
from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import SqlAccounts, SqlAuditTrail, SqlSecondFactors, SqlWorklist


class Site:
    def __init__(self, engine):
        worklist = SqlWorklist(engine)
        self.story = Story(worklist)
        self.accounts = SqlAccounts(worklist.database)
        self.factors = SqlSecondFactors(worklist.database)
        self.trail = SqlAuditTrail(worklist.database)
        for name in ("ada", "bob"):
            account = Account(name=name, roles=frozenset({Role.ADMIN}), password_hash="$x")  # noqa: S106 - of nobody
            assert self.accounts.make_account(account, "test", self.story.tick())

    def changes(self):
        records = self.trail.records(AuditQuestion(action=AuditAction.ACCOUNT_CHANGED))
        return [(one.event.actor, one.event.detail["change"]) for one in records]


@pytest.fixture
def site(engine):
    made = Site(engine)
    assert made.factors.set_up("ada", "sealed", 100, ["d1", "d2"], made.story.tick())
    return made


def test_what_is_set_up_is_not_replaced(site):
    assert not site.factors.set_up("ada", "other", 101, ["d3"], site.story.tick())
    assert site.accounts.account("ada").totp_secret == "sealed"  # noqa: S105 - of nobody
    assert site.factors.recovery_left("ada") == 2
    assert not site.factors.set_up("nobody", "sealed", 1, ["d4"], site.story.tick())


def test_steps_only_go_forward(site):
    assert not site.factors.take_step("ada", 100)
    assert site.factors.take_step("ada", 101)
    assert not site.factors.take_step("ada", 101)
    assert not site.factors.take_step("ada", 99)
    assert not site.factors.take_step("bob", 200)  # has none


def test_of_many_who_say_one_code_at_once_one_gets_in(site):
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: site.factors.take_step("ada", 105), range(8)))
        recovered = list(pool.map(lambda _: site.factors.take_recovery("ada", "d1", site.story.now), range(8)))
    assert (taken.count(True), recovered.count(True)) == (1, 1)


def test_a_reset_forgets_everything_and_says_who_did_it(site):
    now = site.story.tick()
    site.accounts.begin_session("ada", NewSession(digest="s1", csrf="c", ends_at=site.story.tick()), "10.0.0.9", now)
    assert site.factors.reset("ada", "command:root", now)
    assert not site.factors.reset("ada", "command:root", now)
    assert (site.accounts.account("ada").totp_secret, site.factors.recovery_left("ada")) == (None, 0)
    assert site.accounts.signed_in("s1", now, now.replace(year=2000)) is None
    assert site.changes()[0] == ("command:root", "second factor reset")
    assert site.factors.set_up("ada", "again", 90, ["d9"], now)  # steps begin anew


def test_a_password_alone_does_not_begin_the_count_of_wrong_codes_anew(site):
    now, later = site.story.tick(), site.story.tick()
    site.accounts.sign_in_refused("ada", "10.0.0.9", "wrong", now, None)
    half = NewSession(digest="s1", csrf="c", ends_at=later, waits=True)
    assert site.accounts.begin_session("ada", half, "10.0.0.9", now)
    assert site.accounts.account("ada").failures == 1
    assert site.trail.records(AuditQuestion(action=AuditAction.SIGNED_IN)) == []
    whole = NewSession(digest="s2", csrf="c", ends_at=later, strong=True, replaces="s1")
    assert site.accounts.begin_session("ada", whole, "10.0.0.9", now)
    assert site.accounts.account("ada").failures == 0
    idle = now.replace(year=2000)
    assert site.accounts.signed_in("s1", now, idle) is None
    assert site.accounts.signed_in("s2", now, idle).strong
