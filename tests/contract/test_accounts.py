"""Accounts on both databases: sessions and links end when they should, and every change is in the audit trail."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from support.story import Story

from triage_agent.domain.accounts import Account, NewSession, Role
from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.people import digest_of, make_first_admin
from triage_agent.worklist import SqlAccounts, SqlAuditTrail, SqlWorklist

HOUR, IDLE = timedelta(hours=1), timedelta(minutes=30)


class Site:
    def __init__(self, engine):
        worklist = SqlWorklist(engine)
        self.story = Story(worklist)
        self.accounts = SqlAccounts(worklist.database)
        self.trail = SqlAuditTrail(worklist.database)
        assert self.accounts.make_account(
            Account(name="ada", roles=frozenset({Role.RADIOLOGIST}), must_change=True), "test", self.story.tick()
        )

    def session(self, digest="d1"):
        now = self.story.tick()
        new = NewSession(digest=digest, csrf="c1", ends_at=now + HOUR)
        return self.accounts.begin_session("ada", new, "10.0.0.9", now)

    def signed_in(self, digest="d1", after=timedelta()):
        now = self.story.now + after
        return self.accounts.signed_in(digest, now, now - IDLE)

    def audited(self, action):
        return [record.event for record in self.trail.records(AuditQuestion(action=action))]


@pytest.fixture
def site(engine):
    return Site(engine)


def test_a_name_is_taken_once(site):
    again = Account(name="ada", roles=frozenset({Role.ADMIN}))
    assert not site.accounts.make_account(again, "test", site.story.tick())
    assert site.accounts.account("ada").roles == {Role.RADIOLOGIST}
    assert [account.name for account in site.accounts.accounts()] == ["ada"]


def test_a_session_goes_on_while_it_is_used_and_no_longer(site):
    assert site.session()
    assert site.signed_in().account.name == "ada"
    assert site.signed_in(after=IDLE * 0.9) is not None  # this use counts
    assert site.signed_in(after=IDLE * 1.8) is not None
    assert site.signed_in(after=IDLE * 2.9) is None
    assert site.signed_in("other") is None


def test_a_session_ends_after_its_time_however_much_it_is_used(site):
    assert site.session()
    for minutes in range(0, 60, 20):
        assert site.signed_in(after=timedelta(minutes=minutes)) is not None
    assert site.signed_in(after=HOUR) is None


def test_signing_out_ends_that_session_alone(site):
    assert site.session("d1")
    assert site.session("d2")
    site.accounts.end_session("d1", site.story.tick())
    assert site.signed_in("d1") is None
    assert site.signed_in("d2") is not None
    assert [event.actor for event in site.audited(AuditAction.SIGNED_OUT)] == ["ada"]


def test_who_is_disabled_is_out_at_once(site):
    assert site.session()
    assert site.accounts.disable("ada", "admin", site.story.tick())
    assert site.signed_in() is None
    assert not site.session("d2")
    assert site.accounts.disable("ada", "admin", site.story.tick(), disabled=False)
    assert site.signed_in() is None  # the old session does not come back
    assert site.session("d3")


def test_roles_change_for_sessions_that_go_on(site):
    assert site.session()
    assert site.accounts.give_roles("ada", {Role.AUDITOR}, "admin", site.story.tick())
    assert site.signed_in().account.roles == {Role.AUDITOR}
    changes = [event.detail.get("change") for event in site.audited(AuditAction.ACCOUNT_CHANGED)]
    assert changes == ["roles", "made"]


def test_a_link_is_good_once_and_only_the_last_one(site):
    now = site.story.tick()
    assert site.accounts.make_link("ada", "first", now + HOUR, "admin", now)
    assert site.accounts.make_link("ada", "second", now + HOUR, "admin", now)
    assert site.accounts.owner_of_link("first", now) is None
    assert site.accounts.owner_of_link("second", now).name == "ada"
    assert site.accounts.use_link("second", "$argon2id$x", now)
    assert not site.accounts.use_link("second", "$argon2id$y", now)
    account = site.accounts.account("ada")
    assert (account.password_hash, account.must_change) == ("$argon2id$x", False)


def test_a_link_ends_with_its_time(site):
    now = site.story.tick()
    assert site.accounts.make_link("ada", "link", now + HOUR, "admin", now)
    assert not site.accounts.use_link("link", "$argon2id$x", now + HOUR)
    assert not site.accounts.make_link("nobody", "other", now + HOUR, "admin", now)


def test_a_new_password_ends_every_session(site):
    assert site.session("d1")
    assert site.session("d2")
    assert site.accounts.change_password("ada", "$argon2id$z", site.story.tick())
    assert (site.signed_in("d1"), site.signed_in("d2")) == (None, None)


def test_what_was_typed_in_place_of_a_name_is_kept_nowhere(site):
    site.accounts.sign_in_refused("hunter2-my-password", "10.0.0.9", "wrong", site.story.tick(), None)
    (event,) = site.audited(AuditAction.SIGN_IN_REFUSED)
    assert (event.actor, event.detail["known"]) == ("unknown", False)


def test_wrong_passwords_are_counted_until_a_right_one(site):
    now = site.story.tick()
    for _ in range(3):
        site.accounts.sign_in_refused("ada", "10.0.0.9", "wrong", now, now + HOUR)
    account = site.accounts.account("ada")
    assert (account.failures, account.locked_until) == (3, now + HOUR)
    assert site.session()
    account = site.accounts.account("ada")
    assert (account.failures, account.locked_until) == (0, None)


def test_records_are_found_by_who_what_and_when_newest_first(site):
    for digest in ("d1", "d2", "d3"):
        assert site.session(digest)
    everything = site.trail.records(AuditQuestion())
    assert [record.id for record in everything] == sorted((one.id for one in everything), reverse=True)
    assert [one.event.action for one in site.trail.records(AuditQuestion(actor="test"))] == [
        AuditAction.ACCOUNT_CHANGED
    ]
    second = site.trail.records(AuditQuestion(action=AuditAction.SIGNED_IN, limit=2))
    third = site.trail.records(AuditQuestion(action=AuditAction.SIGNED_IN, before=second[-1].id))
    assert (len(second), len(third)) == (2, 1)
    assert (
        site.trail.records(AuditQuestion(since=site.story.now, until=site.story.now + HOUR))[0].event.at
        == site.story.now
    )
    assert site.trail.records(AuditQuestion(study_instance_uid="1.2.3")) == []


def test_of_many_first_starts_at_once_one_makes_the_admin_and_its_link(engine):
    accounts = SqlAccounts(SqlWorklist(engine).database)
    now = Story(SqlWorklist(engine)).tick()
    with ThreadPoolExecutor(6) as pool:
        links = [one for one in pool.map(lambda _: make_first_admin(accounts, "test", now), range(6)) if one]
    assert len(links) == 1
    assert accounts.owner_of_link(digest_of(links[0]), now).name == "admin"
    assert len(accounts.accounts()) == 1
