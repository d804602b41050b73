"""The pages as a browser asks for them: closed by default, each route to its roles, nothing forged, nothing inline."""

import hashlib
import re
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from support.site import PASSWORD, Hospital, csrf_of
from support.story import STUDY

from triage_agent.domain.accounts import Account, Role
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.people import digest_of, make_first_admin, make_link
from triage_agent.web.site.rules import RULES, Door, routes_of, rule_of

STREAMS = {
    "/live",
    "/studies/{uid}/images/{image}",
    "/studies/{uid}/evidence",
    "/second/qr",
}  # they have tests of their own
PAGES = sorted((method, path) for (method, path), rule in RULES.items() if rule.door in {Door.HALF, Door.SIGNED_IN})
BY_ROLE = [
    (method, path, role)
    for method, path in PAGES
    if path not in STREAMS
    for role in ("radiologist", "admin", "auditor")
]


def address(path):
    return (
        path.replace("{uid}", STUDY)
        .replace("{number}", "1")
        .replace("{name}", "auditor")
        .replace("{image}", f"{STUDY}.1")
    )


def test_every_route_has_a_row_and_every_row_a_route(hospital):
    routes = set(routes_of(hospital.app))
    assert routes == set(RULES)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_nothing_is_open_without_signing_in(hospital, method, path):
    answer = hospital.browser().request(method, address(path))
    assert answer.status_code in {303, 401}
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/login")
    assert "Åkesson" not in answer.text


@pytest.mark.parametrize(("method", "path", "role"), BY_ROLE)
def test_each_route_is_for_its_roles(hospital, method, path, role):
    answer = hospital.browser(role).request(method, address(path))
    may = rule_of(method, path).admits(frozenset({Role(role)}))
    if method == "GET":
        assert answer.status_code == (200 if may else 403)
    else:  # admitted, and stopped for want of the token that only our own page has
        assert answer.status_code in ({411, 403} if may else {403})
    assert bool(hospital.audited(AuditAction.ACCESS_REFUSED)) is not may


def test_a_page_that_was_asked_for_comes_after_the_sign_in(hospital):
    browser = hospital.browser()
    told = browser.get("/audit?actor=ada").headers["location"]
    assert told == "/login?next=%2Faudit%3Factor%3Dada"
    answer = browser.post(told, data={"name": "auditor", "password": PASSWORD})
    assert answer.headers["location"] == "/audit?actor=ada"


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere(hospital, then):
    answer = hospital.browser().post("/login", params={"next": then}, data={"name": "admin", "password": PASSWORD})
    assert answer.headers["location"] == "/"


def test_wrong_names_and_wrong_passwords_look_the_same(hospital):
    hospital.accounts.disable("auditor", "test", hospital.now)
    said = {
        hospital.browser().post("/login", data={"name": name, "password": password}).text
        for name, password in (("nobody", PASSWORD), ("admin", "wrong"), ("auditor", PASSWORD), ("", ""))
    }
    assert len(said) == 1
    assert len(hospital.audited(AuditAction.SIGN_IN_REFUSED)) == 4


def test_after_five_wrong_passwords_the_right_one_waits(hospital):
    for _ in range(5):
        hospital.browser().post("/login", data={"name": "admin", "password": "wrong"})
    assert hospital.browser().post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 403
    hospital.now += timedelta(minutes=1, seconds=1)
    assert hospital.browser().post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303


def test_pauses_grow_and_end(hospital):
    for _ in range(40):
        hospital.browser().post("/login", data={"name": "admin", "password": "wrong"})
        hospital.now += timedelta(minutes=15)
    hospital.now += timedelta(seconds=1)
    assert hospital.browser().post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303


def test_signing_out_ends_the_session_at_the_server_too(hospital):
    browser = hospital.browser("radiologist")
    page = browser.get("/")
    kept = dict(browser.cookies)
    assert browser.post("/logout", data={"csrf": csrf_of(page)}).headers["location"] == "/login"
    thief = hospital.browser()
    thief.cookies.update(kept)
    assert thief.get("/").status_code == 303


def test_an_unused_session_ends(hospital):
    browser = hospital.browser("radiologist")
    hospital.now += timedelta(minutes=61)
    assert browser.get("/").status_code == 303


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, "wrong"),
        ({}, ""),
        ({"Origin": "http://evil.example"}, None),
        ({"Origin": "null"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Sec-Fetch-Site": "same-site"}, None),
    ],
)
def test_a_forged_request_changes_nothing(hospital, headers, token):
    browser = hospital.browser("radiologist")
    right = csrf_of(browser.get("/"))
    answer = browser.post("/logout", data={"csrf": right if token is None else token}, headers=headers)
    assert answer.status_code == 403
    assert browser.get("/").status_code == 200


def test_a_sign_in_from_another_site_is_refused(hospital):
    answer = hospital.browser().post(
        "/login", data={"name": "admin", "password": PASSWORD}, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 403


def test_bodies_are_bounded(hospital):
    browser = hospital.browser()
    assert browser.post("/login", data={"name": "a" * 70_000}).status_code == 413
    assert browser.post("/login", content=iter([b"name=a"])).status_code == 411


@pytest.mark.parametrize("path", ["/login", "/", "/nothing", "/api/worklist", "/healthz"])
def test_every_answer_has_the_headers(hospital, path):
    headers = hospital.browser().get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/audit", f"/studies/{STUDY}", "/password"])
def test_pages_have_nothing_inline_and_nothing_of_others(hospital, path):
    page = hospital.browser("admin").get(path).text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", page)
    assert re.findall(r'(?:src|href)="((?:https?:)?//[^"]*)"', page) == []
    assert "Preliminary. Machine-made. Not a diagnosis." in page


def test_the_cookie_is_for_https_alone_where_browsers_come_by_it(tmp_path):
    hospital = Hospital(tmp_path, secure=True)
    answer = hospital.browser(base="https://testserver").post("/login", data={"name": "admin", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-triage=")
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"))
    assert "Domain" not in cookie
    hospital.engine.dispose()


def test_what_a_modality_sends_is_shown_and_never_run(hospital):
    hospital.story.receive("1.2.840.99.7", patient_name="<script>alert(1)</script>^O'Neil", accession_number='"><b>')
    page = hospital.browser("radiologist").get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, O&#39;Neil" in page
    assert "&#34;&gt;&lt;b&gt;" in page


def test_the_worklist_shows_studies_and_says_in_the_trail_who_saw_them(hospital):
    browser = hospital.browser("radiologist")
    page = browser.get("/", params={"priority": "", "status": ""})
    assert "Åkesson, Görel" in page.text
    (item,) = browser.get("/api/worklist").json()
    assert item["study_instance_uid"] == STUDY
    seen = hospital.audited(AuditAction.STUDIES_LISTED)
    assert [(event.actor, event.detail["studies"]) for event in seen] == [("radiologist", 1)] * 2
    assert browser.get(f"/studies/{STUDY}").status_code == 200
    (viewed,) = hospital.audited(AuditAction.STUDY_VIEWED)
    assert (viewed.actor, viewed.study_instance_uid) == ("radiologist", STUDY)


@pytest.mark.parametrize(
    "path", ["/studies/1.2.3", "/studies/..%2f..", "/studies/%00", "/nothing", "/static/x/site.css"]
)
def test_what_is_not_there_is_404(hospital, path):
    assert hospital.browser("radiologist").get(path).status_code == 404


def test_an_error_is_called_by_what_it_is(hospital):
    browser = hospital.browser("radiologist")
    titles = {path: browser.get(path).text for path in ("/nothing", "/accounts", "/?days=x")}
    assert [title for page in titles.values() for title in re.findall("<h1>([^<]+)", page)] == [
        "Not found",
        "Not allowed",
        "Not understood",
    ]


def test_a_value_that_cannot_be_understood_is_not_repeated(hospital):
    answer = hospital.browser("radiologist").get("/", params={"status": "<b>nonsense"})
    assert answer.status_code == 400
    assert "nonsense" not in answer.text


def test_the_audit_console_filters_and_audits_its_own_readers(hospital):
    browser = hospital.browser("auditor")
    assert browser.get("/audit", params={"actor": "test", "action": "", "study": ""}).status_code == 200
    records = browser.get("/api/audit", params={"actor": "test"}).json()
    assert {record["actor"] for record in records} == {"test"}
    assert [event.actor for event in hospital.audited(AuditAction.AUDIT_READ)] == ["auditor", "auditor"]


def test_the_first_admin_chooses_a_password_by_a_link_that_is_good_once(tmp_path):
    hospital = Hospital(tmp_path)
    assert make_first_admin(hospital.accounts, "test", hospital.now) is None  # there are accounts
    hospital.accounts.make_account(
        Account(name="new", roles=frozenset({Role.ADMIN}), must_change=True), "t", hospital.now
    )
    link = f"/first/{make_link(hospital.accounts, 'new', 't', hospital.now)}"
    browser = hospital.browser()
    assert "new" in browser.get(link).text
    weak = browser.post(link, data={"password": "short", "again": "short"})
    assert (weak.status_code, "at least 12" in weak.text) == (400, True)
    assert browser.post(link, data={"password": PASSWORD, "again": "other"}).status_code == 400
    taken = browser.post(link, data={"password": PASSWORD, "again": PASSWORD})
    assert taken.status_code == 303
    assert "Your password is set. Sign in with it." in browser.get(taken.headers["location"]).text
    assert (browser.get(link).status_code, "triage-agent user link admin" in browser.get(link).text) == (404, True)
    assert hospital.browser("new").get("/").status_code == 200
    hospital.engine.dispose()


def test_a_changed_password_ends_every_session(hospital):
    browser, other = hospital.browser("admin"), hospital.browser("admin")
    page = browser.get("/password")
    form = {"csrf": csrf_of(page), "old": PASSWORD, "password": "another good staple", "again": "another good staple"}
    assert browser.post("/password", data=form | {"old": "wrong"}).status_code == 400
    changed = browser.post("/password", data=form)
    assert changed.status_code == 303
    assert "Your password is changed" in hospital.browser().get(changed.headers["location"]).text
    assert "script" not in re.sub(
        "<script[^>]*>", "", hospital.browser().get("/login?set=<script>").text.split("<main")[1]
    )
    assert (browser.get("/").status_code, other.get("/").status_code) == (303, 303)


def test_the_old_password_cannot_be_guessed_at_an_open_session(hospital):
    browser = hospital.browser("radiologist")
    form = {"csrf": csrf_of(browser.get("/password")), "password": "another good staple"}
    form["again"] = form["password"]
    for number in range(5):
        assert browser.post("/password", data=form | {"old": f"wrong {number}"}).status_code == 400
    reasons = [(event.actor, event.detail["reason"]) for event in hospital.audited(AuditAction.SIGN_IN_REFUSED)]
    assert reasons == [("radiologist", "wrong old password")] * 5
    assert browser.post("/password", data=form | {"old": PASSWORD}).status_code == 400  # locked by now
    assert hospital.browser().post("/login", data={"name": "radiologist", "password": PASSWORD}).status_code == 403
    hospital.now += timedelta(minutes=16)
    assert browser.post("/password", data=form | {"old": PASSWORD}).status_code == 303
    assert rule_of("POST", "/password").tries


def test_a_password_that_was_hashed_weakly_is_hashed_anew_at_the_sign_in(hospital):
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16).hash(PASSWORD)
    hospital.accounts.make_account(
        Account(name="old", roles=frozenset({Role.RADIOLOGIST}), password_hash=weak), "test", hospital.now
    )
    earlier = hospital.browser("radiologist")
    assert hospital.browser().post("/login", data={"name": "old", "password": "wrong"}).status_code == 403
    assert hospital.accounts.account("old").password_hash == weak
    hospital.browser("old")
    anew = hospital.accounts.account("old").password_hash
    assert anew != weak
    first = hospital.browser("old")
    assert hospital.accounts.account("old").password_hash == anew
    assert (first.get("/").status_code, earlier.get("/").status_code) == (200, 200)
    assert not hospital.accounts.hash_anew("old", weak, "what was chosen meanwhile stays", hospital.now)
    changes = [event.detail["change"] for event in hospital.audited(AuditAction.ACCOUNT_CHANGED)]
    assert changes.count("password hashed anew") == 1


def test_secrets_are_kept_as_digests(hospital):
    browser = hospital.browser("admin")
    (token,) = browser.cookies.values()
    raw = hospital.engine.raw_connection()
    kept = [row[0] for row in raw.execute("SELECT digest FROM web_sessions")]
    raw.close()
    assert kept == [digest_of(token)]


def test_what_goes_wrong_says_what_it_is_in_its_title(hospital):
    browser = hospital.browser("radiologist")
    assert "<h1>Not found</h1>" in browser.get("/studies/1.2.9").text
    assert "<h1>Not allowed</h1>" in browser.get("/audit").text


def test_a_password_is_taken_as_it_is_and_not_cut(hospital):
    long = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(4))[:200]
    link = make_link(hospital.accounts, "radiologist", "t", hospital.now)
    assert hospital.browser().post(f"/first/{link}", data={"password": long, "again": long}).status_code == 303
    for password, status in ((long + "x", 403), (long.upper(), 403), (long, 303)):
        assert (
            hospital.browser().post("/login", data={"name": "radiologist", "password": password}).status_code == status
        )


def test_browsers_that_come_by_https_come_by_nothing_else(tmp_path):
    hospital = Hospital(tmp_path, secure=True)
    said = hospital.browser(base="https://testserver").get("/login").headers["strict-transport-security"]
    assert said == "max-age=31536000; includeSubDomains"
    assert "strict-transport-security" not in hospital.browser().get("/login").headers
    hospital.engine.dispose()
