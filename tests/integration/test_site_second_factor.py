"""The second factor as a browser meets it: asked of whom the site says, each code once, sealed where it is kept."""

import re
from datetime import timedelta

import pyotp
import pytest
from support.site import PASSWORD, Hospital, csrf_of

from triage_agent.domain.accounts import Role
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import SqlSecondFactors


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path, second_factor=(Role.ADMIN, Role.AUDITOR))
    yield made
    made.engine.dispose()


def field(page, name):
    return re.search(rf'name="{name}" value="([^"]+)"', page.text).group(1)


def code_at(hospital, secret, steps=0):
    return pyotp.TOTP(secret).at(hospital.now + timedelta(seconds=30 * steps))


def set_up(hospital, name="admin"):
    """Somebody's browser with the second factor set up, the secret, and the recovery codes."""
    browser = hospital.browser(name)
    page = browser.get("/second")
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text).group(1).replace(" ", "")
    form = {"csrf": csrf_of(page), "sealed": field(page, "sealed"), "code": code_at(hospital, secret)}
    answer = browser.post("/second/setup", data=form)
    assert answer.status_code == 200
    return browser, secret, re.findall(r"<li><code>([^<]+)</code>", answer.text)


def give(browser, code, path="/second"):
    return browser.post(path, data={"csrf": csrf_of(browser.get("/second")), "code": code})


def test_a_password_alone_opens_nothing_where_a_second_factor_is_asked_for(hospital):
    browser = hospital.browser("admin")
    assert browser.get("/audit?actor=a").headers["location"] == "/second?next=%2Faudit%3Factor%3Da"
    assert browser.get("/api/audit").status_code == 401
    assert browser.get("/password").status_code == 303
    assert hospital.audited(AuditAction.SIGNED_IN) == []
    assert hospital.browser("radiologist").get("/").status_code == 200


def test_it_is_set_up_at_the_first_sign_in_and_asked_for_at_the_next(hospital):
    browser, secret, codes = set_up(hospital)
    assert browser.get("/audit").status_code == 200
    assert len(set(codes)) == 10
    hospital.now += timedelta(minutes=1)
    again = hospital.browser("admin")
    assert "recovery" in again.get("/second").text
    assert give(again, "000000").status_code == 403
    answer = give(again, code_at(hospital, secret), "/second?next=/audit")
    assert answer.headers["location"] == "/audit"
    assert again.get("/audit").status_code == 200
    assert [event.detail["strong"] for event in hospital.audited(AuditAction.SIGNED_IN)] == [True, True]


def test_a_half_session_is_offered_no_page_that_it_may_not_open(hospital):
    browser = hospital.browser("admin")
    setup = browser.get("/second").text
    assert "<nav" not in setup
    assert 'href="/account"' not in setup
    assert "Sign out" in setup
    set_up(hospital)
    wrong = give(hospital.browser("admin"), "000000").text
    assert "<nav" not in wrong
    assert "if that is right, there were too many tries: wait a minute" in wrong
    chosen = hospital.browser("auditor")  # whose role asks for none: all pages stay open while it is set up
    assert ("<nav" in chosen.get("/second").text) is (chosen.get("/audit").status_code == 200)


def test_an_account_says_how_many_recovery_codes_are_left_and_how_new_ones_come(hospital):
    browser, _, codes = set_up(hospital)
    assert "10 of 10 left" in browser.get("/account").text
    assert give(hospital.browser("admin"), codes[0]).status_code == 303
    page = browser.get("/account").text
    assert "9 of 10 left" in page
    assert "triage-agent user reset-second-factor admin" in page
    assert "of 10 left" not in hospital.browser("radiologist").get("/account").text


def test_a_code_is_good_once_and_older_ones_not_at_all(hospital):
    _, secret, _ = set_up(hospital)
    used = code_at(hospital, secret)
    assert give(hospital.browser("admin"), used).status_code == 403
    assert give(hospital.browser("admin"), code_at(hospital, secret, -1)).status_code == 403
    assert give(hospital.browser("admin"), code_at(hospital, secret, 1)).status_code == 303  # a phone that is ahead
    assert give(hospital.browser("admin"), code_at(hospital, secret, 1)).status_code == 403


def test_a_recovery_code_is_good_once_however_it_is_written(hospital):
    _, _, codes = set_up(hospital)
    assert give(hospital.browser("admin"), codes[3].upper().replace("-", " ")).status_code == 303
    assert give(hospital.browser("admin"), codes[3]).status_code == 403
    assert give(hospital.browser("admin"), codes[4]).status_code == 303
    assert SqlSecondFactors(hospital.worklist.database).recovery_left("admin") == 8


def test_a_recovery_code_of_another_account_is_none(hospital):
    _, _, codes = set_up(hospital, "auditor")
    set_up(hospital)
    assert give(hospital.browser("admin"), codes[0]).status_code == 403


def test_the_session_of_the_password_ends_with_the_second_factor(hospital):
    _, secret, _ = set_up(hospital)
    hospital.now += timedelta(minutes=1)
    browser = hospital.browser("admin")
    half = dict(browser.cookies)
    assert give(browser, code_at(hospital, secret)).status_code == 303
    assert dict(browser.cookies) != half
    thief = hospital.browser()
    thief.cookies.update(half)
    assert thief.get("/second").headers["location"].startswith("/login")


def test_codes_cannot_be_guessed_by_signing_in_anew(hospital):
    _, secret, _ = set_up(hospital)
    hospital.now += timedelta(minutes=1)
    for _ in range(5):
        assert give(hospital.browser("admin"), "000000").status_code == 403
    assert hospital.browser().post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 403
    hospital.now += timedelta(minutes=1, seconds=1)
    browser = hospital.browser("admin")
    assert give(browser, "000000").status_code == 403  # the sixth: the pause is longer now
    assert give(browser, code_at(hospital, secret)).status_code == 403
    hospital.now += timedelta(minutes=15, seconds=1)
    assert give(hospital.browser("admin"), code_at(hospital, secret)).status_code == 303
    assert hospital.accounts.account("admin").failures == 0


def test_a_half_session_does_not_last(hospital):
    browser = hospital.browser("admin")
    hospital.now += timedelta(minutes=11)
    assert browser.get("/second").headers["location"].startswith("/login")


def test_who_has_the_password_cannot_replace_the_authenticator(hospital):
    thief = hospital.browser("admin")
    offer = thief.get("/second")
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", offer.text).group(1).replace(" ", "")
    set_up(hospital)
    form = {"csrf": csrf_of(offer), "sealed": field(offer, "sealed"), "code": code_at(hospital, secret)}
    assert thief.post("/second/setup", data=form).status_code == 403
    assert thief.get("/audit").status_code == 303


def test_an_offer_is_for_one_account_and_for_a_while(hospital):
    page = hospital.browser("auditor").get("/second")
    sealed, admin = field(page, "sealed"), hospital.browser("admin")
    assert admin.get("/second/qr", params={"sealed": sealed}).status_code == 404
    assert admin.get("/second/qr").status_code == 404
    assert admin.get("/second/qr", params={"sealed": "x" * 5000}).status_code == 404


def test_the_picture_is_an_image_and_nothing_else(hospital):
    browser = hospital.browser("admin")
    page = browser.get("/second")
    picture = browser.get("/second/qr", params={"sealed": field(page, "sealed")})
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert b"<svg " in picture.content
    assert b"<script" not in picture.content
    assert "data:" not in page.text


def test_a_stolen_database_gives_no_codes(hospital):
    _, secret, codes = set_up(hospital)
    kept = hospital.accounts.account("admin").totp_secret
    assert secret not in kept
    assert hospital.seal.open("totp admin", kept) == secret
    assert hospital.seal.open("totp auditor", kept) is None
    raw = hospital.engine.raw_connection()
    digests = [row[0] for row in raw.execute("SELECT digest FROM recovery_codes")]
    raw.close()
    assert len(digests) == 10
    assert not {code.replace("-", "") for code in codes} & set(digests)


def test_a_secret_of_another_key_is_a_wrong_code_and_a_reset_mends_it(hospital):
    browser, secret, _ = set_up(hospital)
    hospital.now += timedelta(minutes=1)
    raw = hospital.engine.raw_connection()
    raw.execute("UPDATE accounts SET totp_secret = 'gAAAA-of-another-key' WHERE name = 'admin'")
    raw.commit()
    raw.close()
    assert give(hospital.browser("admin"), code_at(hospital, secret)).status_code == 403
    assert SqlSecondFactors(hospital.worklist.database).reset("admin", "command:root", hospital.now)
    assert browser.get("/").headers["location"].startswith("/login")
    set_up(hospital)
    assert "second factor reset" in [
        event.detail.get("change") for event in hospital.audited(AuditAction.ACCOUNT_CHANGED)
    ]


def test_a_role_that_needs_it_asks_for_it_from_the_next_request_on(hospital):
    browser = hospital.browser("radiologist")
    assert browser.get("/").status_code == 200
    hospital.accounts.give_roles("radiologist", {Role.RADIOLOGIST, Role.ADMIN}, "test", hospital.now)
    assert browser.get("/").headers["location"] == "/second"
