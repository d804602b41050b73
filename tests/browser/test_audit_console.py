"""The audit console in a browser: from a study to who saw it, its story, the chain verified, the records exported."""

import csv
from pathlib import Path

import pytest
from lxml import etree
from playwright.sync_api import expect
from sqlalchemy import text
from support import story
from support.auditing import seal_all, unguarded

STUDY = f"/studies/{story.STUDY}"


@pytest.fixture
def claimed(served):
    """Somebody has opened the study, and claimed it."""
    reader = served.reader(then=STUDY)
    reader.get_by_role("button", name="Claim").click()
    expect(reader.get_by_role("button", name="Give it back")).to_be_visible()
    return served


def records(page):
    return page.locator(".records tbody tr")


def downloaded(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    return Path(waiting.value.path()).read_bytes()


def test_an_auditor_goes_from_a_study_to_who_saw_it(claimed):
    page = claimed.reader("auditor", then=STUDY)
    page.get_by_role("link", name="This study's story").click()
    expect(page.get_by_role("heading", name="Story of a study")).to_be_visible()
    told = page.locator(".story li")
    expect(told.filter(has_text="radiologist opened the study")).to_have_count(1)
    expect(told.filter(has_text="radiologist claimed the study")).to_have_count(1)
    expect(page.get_by_text("First opened")).to_be_visible()
    page.get_by_role("link", name="Its records").click()
    expect(page.get_by_label("Study UID")).to_have_value(story.STUDY)
    expect(records(page).filter(has_text="auditor read the story of the study")).to_have_count(1)
    page.get_by_label("Event").select_option(label="Who saw: all")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**action=saw**")
    expect(records(page)).to_have_count(2)
    expect(records(page).first).to_contain_text("auditor opened the study")
    records(page).last.get_by_role("link", name="radiologist").click()
    expect(records(page)).to_have_count(1)
    expect(page.get_by_label("Person or AE title")).to_have_value("radiologist")
    page.get_by_label("Event").select_option("reading_changed")
    page.get_by_role("button", name="Show").click()
    expect(records(page)).to_have_count(1)
    expect(records(page)).to_contain_text("radiologist claimed the study")


def test_a_patient_is_found_by_name_and_times_are_the_readers_own(claimed):
    page = claimed.reader("auditor", then="/audit", timezone_id="Europe/Stockholm")
    expect(page.locator("#zone-said")).to_have_text("Times are in Europe/Stockholm.")
    page.get_by_label("Patient").fill("akesson")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 study of that patient on this worklist.")).to_be_visible()
    expect(records(page).filter(has_text="radiologist claimed the study")).to_contain_text("2026-03-01 09:00:00")
    page.get_by_label("From").fill("2026-03-01T09:30")
    page.get_by_role("button", name="Show").click()
    expect(records(page).filter(has_text="radiologist claimed the study")).to_have_count(0)


def test_the_log_is_verified_from_the_page_and_what_somebody_changed_is_named(claimed):
    hospital = claimed.hospital
    seal_all(hospital.trail, hospital.now)
    page = claimed.reader("auditor", then="/audit")
    page.get_by_role("link", name="Verify").click()
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("heading", name="Intact", exact=False)).to_be_visible()
    with unguarded(hospital.engine) as connection:
        connection.execute(text("UPDATE audit_events SET actor = 'nobody' WHERE id = 3"))
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("heading", name="Not intact: 1 finding")).to_be_visible()
    expect(page.get_by_role("cell", name="record 3", exact=False)).to_be_visible()


def test_what_is_filtered_is_exported_as_rows_and_as_messages(claimed):
    page = claimed.reader("auditor", then="/audit")
    page.get_by_label("Study UID").fill(story.STUDY)  # not shown first: export has what stands in the form
    page.get_by_label("Event").select_option(label="Who claimed and read: all")
    header, row = csv.reader(downloaded(page, "Export CSV").decode().splitlines())
    assert len(header) == len(row)
    assert "radiologist" in row
    assert story.STUDY in row
    messages = etree.fromstring(downloaded(page, "Export DICOM messages"))
    assert len(messages.findall(".//AuditMessage")) == 1
    page.get_by_label("Event").select_option("audit_exported")
    page.get_by_role("button", name="Show").click()
    expect(records(page)).to_have_count(2)
    expect(records(page).first).to_contain_text("auditor exported the audit log")


def test_on_a_phone_records_stand_before_the_form_unless_something_is_wrong_with_it(served):
    page = served.reader("auditor", then="/audit", viewport={"width": 390, "height": 844})
    filters = page.locator("details.narrowing")
    expect(filters).not_to_have_attribute("open", "")
    assert records(page).first.bounding_box()["y"] < 844
    with served.refusals():
        page.goto("/audit?zone=Nowhere&actor=radiologist")
    expect(filters).to_have_attribute("open", "")
    expect(page.get_by_label("Time zone")).to_be_focused()
    expect(page.get_by_label("Person or AE title")).to_have_value("radiologist")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/audit")
    expect(filters).to_have_attribute("open", "")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(filters).not_to_have_attribute("open", "")
