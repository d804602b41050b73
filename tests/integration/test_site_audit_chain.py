"""The chain on the audit console: always shown, and verified from the page as by the command."""

import threading
import time
from datetime import timedelta

import pytest
import typer
from lxml import etree
from sqlalchemy import text
from support.audit_pages import record, show
from support.auditing import seal_all, unguarded
from support.site import csrf_of

from triage_agent.audit.anchors import open_signer
from triage_agent.audit.verification import verify
from triage_agent.cli.auditing import verify as verify_by_command
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site import audit_chain


@pytest.fixture
def browser(hospital):
    return hospital.browser("auditor")


def job_of(browser):
    until = time.monotonic() + 60
    while (job := browser.get("/api/audit/chain").json())["running"] and time.monotonic() < until:
        time.sleep(0.02)
    return job


def begin(browser, **form):
    token = csrf_of(browser.get("/audit/chain"))
    return browser.post("/audit/verify", data={"csrf": token, **form})


def test_the_console_always_says_how_far_the_chain_is(hospital, browser):
    seal_all(hospital.trail, hospital.now)
    sealed = hospital.trail.head().position
    record(hospital, after=-20)
    page = show(browser)
    assert f"Sealed up to {sealed}, 2 not yet, the oldest for 20 s." in page.text
    assert "Not verified yet" in page.text
    record(hospital, after=-120)
    assert "Records wait for their seals." in show(browser).text
    hospital.trail.claim_cursor("anchors", "me", hospital.now, timedelta(seconds=5))
    hospital.trail.release_cursor("anchors", "me", "disk full")
    page = browser.get("/audit/chain")
    assert "The last anchor could not be kept: disk full" in page.text
    assert "The log needs a look" in page.text


def test_an_intact_log_is_verified_from_the_page_as_by_the_command(hospital, browser):
    seal_all(hospital.trail, hospital.now)
    answer = begin(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit/chain")
    job = job_of(browser)
    assert (job["intact"], job["by"], job["error"]) == (True, "auditor", "")
    assert job["records"] == verify(hospital.trail, hospital.now).records
    assert "Intact" in browser.get("/audit/chain").text
    (result,) = hospital.audited(AuditAction.AUDIT_VERIFIED)
    begun = hospital.audited(AuditAction.AUDIT_READ)[-1]
    assert (begun.detail["command"], begun.detail["begun"]) == ("verify", True)
    assert (result.actor, result.detail["intact"], result.detail["wrong"]) == ("auditor", True, 0)


def test_a_log_that_was_tampered_with_is_said_to_be_with_the_records_named(hospital, browser):
    seal_all(hospital.trail, hospital.now)
    with unguarded(hospital.engine) as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'x' WHERE id = 2"))
    begin(browser)
    assert job_of(browser)["intact"] is False
    page = browser.get("/audit/chain").text
    assert "Not intact: 1 finding" in page
    assert "record 2, or its seal" in page
    assert hospital.audited(AuditAction.AUDIT_VERIFIED)[0].detail["wrong"] == 1
    assert "found that the log is NOT INTACT: 1 finding," in show(browser).text


def whole(page):
    (section,) = etree.HTML(page.text).xpath('//section[@aria-label="The chain of the log"]')
    return " ".join(" ".join(section.itertext()).split())


def test_what_was_found_stands_after_a_restart_whoever_found_it(hospital, browser, tmp_path, monkeypatch):
    seal_all(hospital.trail, hospital.now)
    with unguarded(hospital.engine) as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'x' WHERE id = 2"))
    monkeypatch.setenv("TRIAGE_AGENT__DATA_DIR", str(tmp_path))
    with pytest.raises(typer.Exit):
        verify_by_command()
    assert "NOT INTACT: 1 finding," in whole(show(browser))  # this process has verified nothing
    assert "verified the audit log: NOT INTACT, 1 wrong" in show(browser, action="audit_verified").text
    begin(browser, days="1")
    assert job_of(browser)["intact"] is False


def test_a_log_is_green_only_where_the_whole_of_it_was_verified_lately(hospital, browser):
    seal_all(hospital.trail, hospital.now)
    begin(browser)
    assert job_of(browser)["intact"] is True
    assert whole(show(browser)).startswith(
        "● Intact when it was last verified The whole log was last found intact 2026"
    )
    assert "auditor verified the audit log: intact," in show(browser, action="audit_verified").text
    assert "auditor began to verify the audit log" in show(browser, actor="auditor").text
    hospital.now += timedelta(days=8)
    again = hospital.browser("auditor")
    seal_all(hospital.trail, hospital.now)
    assert whole(show(again)).startswith("○ Not verified since 2026-03-01 08:00:00")


def test_where_nothing_was_looked_at_nothing_is_said_to_be_intact(hospital, browser):
    begin(browser)  # nothing is sealed yet
    assert job_of(browser)["records"] == 0
    page = browser.get("/audit/chain")
    assert "Nothing was looked at" in page.text
    assert "● Intact" not in " ".join(etree.HTML(page.text).itertext())
    assert whole(page).startswith("○ Not verified yet")
    assert "there was nothing to look at" in show(browser, action="audit_verified").text


def test_a_chain_made_anew_is_found_by_the_anchors_that_are_kept_here(hospital, browser, tmp_path):
    seal_all(hospital.trail, hospital.now)
    signer = open_signer(tmp_path / "anchor.key", make=True)
    hospital.anchors = (signer.sign(hospital.trail.head(), hospital.now),)
    with unguarded(hospital.engine) as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'x' WHERE id = 1"))
        connection.execute(text("DELETE FROM audit_seals"))
        connection.execute(text("DELETE FROM audit_head"))
    seal_all(hospital.trail, hospital.now)
    begin(browser)
    assert job_of(browser)["intact"] is False
    assert "was made anew" in browser.get("/audit/chain").text


def test_one_verification_runs_at_a_time_and_ends_with_the_agent(hospital, browser, monkeypatch):
    seal_all(hospital.trail, hospital.now)
    going, go_on = threading.Event(), threading.Event()

    def slow(*_args, progress, **_named):
        progress(1)
        going.set()
        go_on.wait(60)
        progress(2)

    monkeypatch.setattr(audit_chain, "verify", slow)
    assert begin(browser).status_code == 303
    assert going.wait(60)
    assert browser.get("/api/audit/chain").json()["running"] is True
    assert 'value="' in browser.get("/audit/chain").text
    assert begin(browser).status_code == 409
    closing = threading.Thread(target=hospital.site.verifier.close)
    closing.start()
    go_on.set()
    closing.join(60)
    assert job_of(browser)["error"] == "the agent ended"
    assert begin(browser).status_code == 409


def test_a_verification_that_fails_says_so(hospital, browser, monkeypatch):
    def away(*_args, **_named):
        raise WorklistUnavailableError("the database is away")

    monkeypatch.setattr(audit_chain, "verify", away)
    assert begin(browser, days="7").status_code == 303
    assert job_of(browser)["error"] == "the database is away"
    assert "Not finished" in browser.get("/audit/chain").text
    assert hospital.audited(AuditAction.AUDIT_VERIFIED)[0].detail["error"] == "the database is away"
    assert begin(browser, days="12").status_code == 400
