"""One's own sessions as a browser shows them, ended one by one or all; an admin ends anybody's; each is audited."""

import re
from datetime import timedelta

import pytest
from support.site import PASSWORD, Hospital, csrf_of

from triage_agent.domain.accounts import Role
from triage_agent.domain.vocabulary import AuditAction

FIREFOX = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"}


def handles(page):
    return [one for one in re.findall(r'name="session" value="([^"]+)"', page.text) if one != "others"]


def end(browser, session, path="/account"):
    form = {"csrf": csrf_of(browser.get(path)), "session": session}
    return browser.post(f"{path}/sessions/end", data=form)


def ended(hospital):
    found = hospital.audited(AuditAction.ACCOUNT_CHANGED)
    return [(one.actor, one.detail["account"], one.detail["sessions"]) for one in found if "sessions" in one.detail]


def elsewhere(hospital, name="radiologist", **headers):
    """Somebody's session in another browser."""
    made = hospital.browser()
    made.headers.update(headers or FIREFOX)
    assert made.post("/login", data={"name": name, "password": PASSWORD}).status_code == 303
    return made


def test_one_sees_ones_own_sessions_with_browser_address_and_times(hospital):
    elsewhere(hospital)
    hospital.now += timedelta(minutes=10)
    elsewhere(hospital, "auditor")
    browser = hospital.browser("radiologist")
    page = browser.get("/account")
    assert "Firefox on Windows" in page.text
    assert "testclient" in page.text  # where it came from
    assert "2026-03-01 08:00:00 UTC" in page.text
    assert page.text.count("this one") == 1
    assert len(handles(page)) == 1  # this one is ended by signing out
    kept = browser.cookies["triage"]
    assert kept not in page.text
    assert not any(handle in kept for handle in handles(page))


def test_one_session_is_ended_and_is_out_at_once(hospital):
    other, browser = elsewhere(hospital), hospital.browser("radiologist")
    (handle,) = handles(browser.get("/account"))
    assert end(browser, handle).headers["location"] == "/account"
    assert other.get("/").status_code == 303
    assert browser.get("/").status_code == 200
    assert ended(hospital) == [("radiologist", "radiologist", 1)]
    assert end(browser, handle).status_code == 409


def test_all_others_are_ended_and_this_one_goes_on(hospital):
    others = [elsewhere(hospital) for _ in range(3)]
    somebody, browser = hospital.browser("auditor"), hospital.browser("radiologist")
    assert end(browser, "others").status_code == 303
    assert {one.get("/").status_code for one in others} == {303}
    assert (browser.get("/").status_code, somebody.get("/").status_code) == (200, 200)
    assert ended(hospital) == [("radiologist", "radiologist", 3)]
    assert "End all others" not in browser.get("/account").text


def test_nobody_ends_a_session_of_another_by_its_handle(hospital):
    victim, _ = elsewhere(hospital, "auditor"), elsewhere(hospital, "auditor")
    (handle,) = handles(victim.get("/account"))
    browser = hospital.browser("radiologist")
    for said in (handle, "", "x" * 5000, "\x00"):
        assert end(browser, said).status_code == 409
    assert victim.get("/").status_code == 200
    assert ended(hospital) == []


def test_a_session_that_is_over_is_not_listed(hospital):
    elsewhere(hospital)
    hospital.now += timedelta(minutes=61)  # unused
    assert handles(hospital.browser("radiologist").get("/account")) == []


def test_who_has_the_password_alone_is_seen_by_whom_it_belongs_to(tmp_path):
    hospital = Hospital(tmp_path, second_factor=(Role.ADMIN,))
    code = hospital.authenticator("admin")
    hospital.now += timedelta(minutes=1)
    hospital.browser("admin")  # a thief who has no code
    browser = hospital.browser("admin")
    form = {"csrf": csrf_of(browser.get("/second")), "code": code.at(hospital.now)}
    assert browser.post("/second", data=form).status_code == 303
    page = browser.get("/account")
    assert page.text.count("The second factor has not been given.") == 1
    assert len(handles(page)) == 1
    hospital.engine.dispose()


def test_an_admin_sees_all_accounts_and_ends_somebodys_sessions(hospital):
    theirs, browser = elsewhere(hospital), hospital.browser("admin")
    page = browser.get("/accounts").text
    assert [name for name in ("admin", "auditor", "radiologist") if f'href="/accounts/{name}"' in page]
    assert "Firefox" in browser.get("/accounts/radiologist").text
    assert end(browser, "others", "/accounts/radiologist").headers["location"] == "/accounts/radiologist"
    assert theirs.get("/").status_code == 303
    assert ended(hospital) == [("admin", "radiologist", 1)]
    assert [one.detail.get("account") for one in hospital.audited(AuditAction.ACCOUNTS_LISTED)][-1] is None
    assert {one.actor for one in hospital.audited(AuditAction.ACCOUNTS_LISTED)} == {"admin"}


def test_an_admin_who_ends_all_of_their_own_stays(hospital):
    other, browser = elsewhere(hospital, "admin"), hospital.browser("admin")
    assert end(browser, "others", "/accounts/admin").status_code == 303
    assert (other.get("/").status_code, browser.get("/").status_code) == (303, 200)


@pytest.mark.parametrize("name", ["nobody", "A", "%00", "x" * 300])
def test_an_account_that_is_none_is_404(hospital, name):
    assert hospital.browser("admin").get(f"/accounts/{name}").status_code == 404


def test_the_words_of_the_audit_log_say_who_ended_whose(hospital):
    elsewhere(hospital)
    end(hospital.browser("admin"), "others", "/accounts/radiologist")
    page = hospital.browser("auditor").get("/audit", params={"action": "account_changed"})
    assert "admin changed the account radiologist: sessions ended" in page.text
