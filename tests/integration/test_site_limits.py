"""Programs by token, how often anybody may ask, and who sees patients by initials alone."""

import asyncio
import re
from base64 import b64encode
from datetime import timedelta

import pytest
from fastapi import HTTPException, Request
from support.site import PASSWORD, Hospital
from support.story import STUDY

from triage_agent.domain.accounts import Role
from triage_agent.domain.feedback import Verdict
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.access import Access, Caller
from triage_agent.web.site.gate import Visitor
from triage_agent.web.site.live import Live
from triage_agent.web.site.pages import static_files

LIST, TRAIL = "t" * 30, "u" * 30
CALLERS = (
    Caller(name="DASH", token=LIST, may=frozenset({"worklist"})),
    Caller(name="SIEM", token=TRAIL, may=frozenset({"audit"})),
)


@pytest.fixture
def make(tmp_path):
    made = []

    def hospital(**entrance):
        made.append(Hospital(tmp_path, entrance=entrance))
        return made[-1]

    yield hospital
    for one in made:
        one.engine.dispose()


def refuse(*_args):
    raise HTTPException(503, "too many")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_a_token_opens_what_it_is_for_and_nothing_else(make):
    site = make(access=Access(CALLERS))
    asked = site.browser()
    assert [item["accession_number"] for item in asked.get("/api/worklist", headers=bearer(LIST)).json()] == ["A1"]
    assert asked.get("/api/audit", headers=bearer(TRAIL)).status_code == 200
    assert asked.get("/api/audit", headers=bearer(LIST)).status_code == 403
    assert asked.get("/api/worklist", headers=bearer("x" * 30)).status_code == 401
    assert asked.get("/api/worklist", headers={"Authorization": "Basic YTpi"}).status_code == 401
    assert asked.get("/", headers=bearer(LIST)).status_code == 303
    assert asked.post(f"/studies/{STUDY}/claim", headers=bearer(LIST), data={}).status_code == 401
    assert [event.actor for event in site.audited(AuditAction.STUDIES_LISTED)] == ["token:DASH"]
    assert [event.actor for event in site.audited(AuditAction.AUDIT_READ)] == ["token:SIEM"]


def test_without_tokens_none_is_let_in(make):
    assert make().browser().get("/api/worklist", headers=bearer("")).status_code == 401


def test_a_wrong_token_is_not_helped_by_a_session(make):
    site = make(access=Access(CALLERS))
    assert site.browser("radiologist").get("/api/worklist", headers=bearer("x" * 30)).status_code == 401


@pytest.mark.parametrize(("site_of", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_a_cookie_opens_an_interface_to_our_own_pages_alone(make, site_of, status):
    browser = make().browser("radiologist")
    assert browser.get("/api/worklist", headers={"Sec-Fetch-Site": site_of}).status_code == status


def test_one_address_tries_so_often_and_the_first_refusal_is_audited(make):
    site = make(tries=5)
    browser = site.browser()
    for number in range(5):
        assert browser.post("/login", data={"name": f"n{number}", "password": "x"}).status_code == 403
    answer = browser.post("/login", data={"name": "admin", "password": PASSWORD})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "12")
    assert browser.get(f"/first/{'x' * 43}").status_code == 429  # links are tries, too
    assert browser.get("/login").status_code == 200
    reasons = [event.detail["reason"] for event in site.audited(AuditAction.SIGN_IN_REFUSED)]
    assert reasons.count("too many sign-ins") == 1
    site.now += timedelta(seconds=13)
    assert browser.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303


def test_one_session_asks_so_often_and_the_others_go_on(make):
    site = make(requests=60)
    busy, calm = site.browser("radiologist"), site.browser("radiologist")
    answers = [busy.get("/password").status_code for _ in range(62)]
    assert answers == [200] * 60 + [429] * 2
    assert calm.get("/password").status_code == 200
    (event,) = site.audited(AuditAction.ACCESS_REFUSED)
    assert (event.actor, event.detail["reason"]) == ("radiologist", "too many requests")


MASKED = {"masked": frozenset({Role.AUDITOR, Role.SERVICE}), "access": Access(CALLERS)}
PAGES = ["/", f"/studies/{STUDY}", "/api/worklist"]


@pytest.mark.parametrize("path", PAGES)
def test_an_auditor_sees_initials_and_a_radiologist_names(make, path):
    site = make(**MASKED)
    site.story.receive("1.2.840.99.7", patient_name="Grace^Hopper", patient_id="PID-4711", accession_number="A2")
    path = path.replace(STUDY, "1.2.840.99.7")
    masked, open_ = site.browser("auditor").get(path).text, site.browser("radiologist").get(path).text
    assert not {word for word in ("Grace", "Hopper", "PID-4711") if word in masked}
    assert "G. H." in masked
    assert "…11" in masked or "\\u202611" in masked
    assert {word for word in ("Grace", "Hopper", "PID-4711") if word in open_} == {"Grace", "Hopper", "PID-4711"}


def test_a_second_role_that_sees_names_counts(make):
    site = make(**MASKED)
    site.accounts.give_roles("auditor", {Role.AUDITOR, Role.ADMIN}, "test", site.now)
    assert "Åkesson" in site.browser("auditor").get("/").text


def test_a_program_is_masked_as_its_role_is(make):
    (item,) = make(**MASKED).browser().get("/api/worklist", headers=bearer(LIST)).json()
    assert item["patient_name"] == "Å. G."


def test_who_sees_no_names_finds_none(make):
    browser = make(**MASKED).browser("auditor")
    assert f'data-uid="{STUDY}"' not in browser.get("/?q=ake&days=all").text
    assert f'data-uid="{STUDY}"' in browser.get("/?q=A1&days=all").text


@pytest.mark.parametrize("path", ["/audit", "/api/audit", "/audit/export"])
def test_who_sees_no_names_finds_none_in_the_audit_log(make, path):
    site = make(**MASKED)
    browser = site.browser("auditor")
    for said in ("ake", "P1"):
        answer = browser.get(path, params={"patient": said})
        assert answer.status_code == 403
        assert said not in answer.text
    assert browser.get(path, params={"study": STUDY}).status_code == 200
    assert site.browser("admin").get(path, params={"patient": "ake"}).status_code == 200
    assert 'name="patient"' not in browser.get("/audit").text
    assert 'name="patient"' in site.browser("admin").get("/audit").text


def test_a_masked_program_finds_no_patient_in_the_audit_log(make):
    asked = make(**MASKED).browser()
    assert asked.get("/api/audit", params={"patient": "ake"}, headers=bearer(TRAIL)).status_code == 403
    assert asked.get("/api/audit", headers=bearer(TRAIL)).status_code == 200


def test_messages_that_a_masked_auditor_exports_name_no_patient(make):
    site = make(**MASKED)
    site.story.receive("1.2.840.99.7", patient_name="Grace^Hopper", patient_id="PID-4711", accession_number="A2")
    asked = {"form": "xml", "study": "1.2.840.99.7"}
    ours, theirs = (site.browser(name).get("/audit/export", params=asked).text for name in ("auditor", "admin"))
    hidden = b64encode(b"PID-4711").decode()
    assert "1.2.840.99.7" in ours
    assert not {word for word in ("PID-4711", hidden, "Hopper") if word in ours}
    assert "PID-4711" in theirs


def test_notes_of_readers_are_hidden_with_the_names_that_may_stand_in_them(make):
    site = make(**MASKED)
    site.feedback.give(STUDY, "radiologist", Verdict.MISSED, "Mrs Hopper's left wrist", site.now)
    masked, open_ = (site.browser(name).get(f"/studies/{STUDY}").text for name in ("auditor", "radiologist"))
    assert "Disagree: missed" in masked
    assert "Hopper" not in masked
    assert "Hopper" in open_


@pytest.mark.parametrize("path", ["/live?days=all", "/condition", "/api/audit/chain"])
def test_what_pages_ask_by_themselves_keeps_no_session_alive(make, path, monkeypatch):
    monkeypatch.setattr(Live, "require_room", refuse)  # an answer without an end is none for this browser
    site = make()
    browser = site.browser("auditor")
    for _ in range(4):
        site.now += timedelta(minutes=20)
        last = browser.get(path).status_code
    assert last == 401


def test_pages_ask_by_themselves_for_nothing_else():
    script = b"".join(body for name, body in static_files().items() if name.endswith(".js")).decode()
    asked = set(re.findall(r'(?:fetch|EventSource)\(["`]([^"`]+)', script))
    assert {path.partition("?")[0] for path in asked} == {"/condition", "/api/audit/chain"}


def test_live_views_of_who_sees_names_and_who_does_not_are_two(make):
    site = make(**MASKED)
    studies = next(
        route.endpoint.__self__ for router in site.site.routers for route in router.routes if route.path == "/live"
    )

    async def both():
        events = []
        for masked in (False, True):  # the second comes while the first one's view is watched
            request = Request({"type": "http", "query_string": b"days=all", "headers": []})
            request.state.visitor = Visitor(None, "10.0.0.9", {}, program="test", masked=masked)
            events.append((await studies.live(request)).body_iterator)
            assert (await anext(events[-1])).startswith("retry")
        told = [await anext(one) for one in events]
        for one in events:
            await one.aclose()
        return told

    plain, masked = asyncio.run(both())
    assert "Åkesson" in plain
    assert "Åkesson" not in masked
    assert "Å. G." in masked
