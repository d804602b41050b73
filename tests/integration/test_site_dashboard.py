"""The dashboard as a browser gets it."""

import re

import pytest
from support.site import Hospital, csrf_of
from support.story import SECOND, STUDY, shipment

from triage_agent.domain.feedback import Verdict
from triage_agent.domain.vocabulary import AuditAction


def decided(hospital):
    hospital.story.complete()
    hospital.story.claim()
    hospital.story.decide(shipment())
    hospital.story.send()
    hospital.feedback.give(STUDY, "radiologist", Verdict.MISSED, "", hospital.story.now)
    hospital.now = hospital.story.tick()


@pytest.mark.parametrize("days", ["1", "7", "30"])
def test_with_nothing_decided_the_page_says_so(hospital, days):
    hospital.now = hospital.story.now
    page = hospital.browser("auditor").get("/dashboard", params={"days": days})
    assert page.status_code == 200
    assert "Nothing has been decided yet." in page.text
    assert "No destination is configured." in page.text


def test_it_shows_what_happened_and_names_no_patient(hospital):
    decided(hospital)
    page = hospital.browser("radiologist").get("/dashboard").text
    for said in ("Studies in all: 1.", "1 of 1 in all.", "0 of 1 in all.", "knees 1.2", "41 % free", "works", "Knee"):
        assert said in page, said
    assert "too few to tell" in page
    for name in ("Åkesson", "A1", STUDY):
        assert name not in re.sub(r"<[^>]+>", " ", page)


def test_a_destination_is_shown_before_anything_went_there_and_what_waits_too_long_is_an_alarm(tmp_path):
    hospital = Hospital(tmp_path, destinations=("pacs", "ris"))
    hospital.now = hospital.story.now
    routes = re.compile(r'data-head="To">([^<]+)<.*?data-head="State">([^<]+)<')
    page = hospital.browser("auditor").get("/dashboard").text
    assert routes.findall(page) == [("pacs", "nothing to send yet"), ("ris", "nothing to send yet")]
    assert "too long" not in page
    decided(hospital)
    hospital.story.receive(study="1.2.9", image="1.2.9.1")
    hospital.story.complete("1.2.9")
    hospital.now = hospital.story.tick(600 * SECOND)
    page = hospital.browser("auditor").get("/dashboard").text
    assert routes.findall(page) == [("pacs", "works"), ("ris", "nothing to send yet")]
    assert "1, the longest for 10 min: too long, no worker takes them up" in page
    hospital.engine.dispose()


def test_nothing_is_inline_and_every_plot_has_its_numbers(hospital):
    decided(hospital)
    page = hospital.browser("admin").get("/dashboard").text
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=|javascript:", page)
    assert page.count("<svg") == page.count("<summary>Numbers") >= 4
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_time_that_is_none_is_refused(hospital):
    answer = hospital.browser("admin").get("/dashboard", params={"days": "9999999"})
    assert answer.status_code == 400
    assert "9999999" not in answer.text


def test_who_reloads_costs_the_database_one_look(hospital, monkeypatch):
    decided(hospital)
    browser = hospital.browser("admin")
    first = browser.get("/dashboard").text
    hospital.story.receive("1.2.8")
    assert browser.get("/dashboard").text == first
    hospital.now = hospital.story.tick()
    for _ in range(40):
        hospital.now = hospital.story.tick()
    assert "Studies in all: 2." in browser.get("/dashboard").text


def test_an_admin_exports_what_readers_said_and_that_is_audited(hospital):
    decided(hospital)
    browser = hospital.browser("admin")
    token = csrf_of(browser.get("/dashboard"))
    answer = browser.post("/feedback/export", data={"csrf": token})
    assert answer.headers["content-disposition"] == 'attachment; filename="feedback.csv"'
    assert answer.headers["cache-control"] == "no-store"
    heads, row = answer.text.split("\r\n")[:2]
    assert heads.startswith("number,study_instance_uid,patient,reader,verdict,label")
    assert "missed,abnormal,XR_KNEE" in row
    assert STUDY not in row.replace("2.25.", "")
    assert "radiologist" not in row
    (event,) = hospital.audited(AuditAction.FEEDBACK_EXPORTED)
    assert (event.actor, event.detail["rows"]) == ("admin", 1)


def test_only_admins_see_the_button(hospital):
    assert "Export feedback" not in hospital.browser("radiologist").get("/dashboard").text
