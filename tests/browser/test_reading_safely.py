"""What a hand or an eye gets wrong: double clicks, stale pages, forgotten claims, ended sessions, mixed scripts."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect
from support import story
from support.site import PASSWORD

from triage_agent.domain.accounts import Role
from triage_agent.domain.vocabulary import Priority

STUDY = f"/studies/{story.STUDY}"


def rows(page):
    return page.locator("#rows tr")


def claimed(served):
    return served.hospital.readers.one(story.STUDY)


def press_twice(page, button):
    """As a slow hand does: the second press comes where the first was, when the page has changed."""
    box = button.bounding_box()
    at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(*at)
    expect(page.locator(".acts .said")).to_be_visible()
    for _ in range(3):
        page.mouse.click(*at)
        page.wait_for_timeout(500)


@pytest.mark.parametrize(("width", "scripts"), [(1280, True), (390, True), (1280, False)])
def test_no_second_click_does_what_the_first_did_not_mean(served, width, scripts):
    page = served.reader(then=STUDY, viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    claim = page.get_by_role("button", name="Claim")
    expect(claim).to_be_enabled()
    press_twice(page, claim)
    expect(page.get_by_text("You read this study.")).to_be_visible()
    assert claimed(served).read_by is None
    read = page.get_by_role("button", name="Mark as read")
    expect(read).to_be_enabled()
    press_twice(page, read)
    expect(page.get_by_text("Read by radiologist.")).to_be_visible()
    assert claimed(served).read_by == "radiologist"


def test_an_open_page_hears_of_priority_and_claims_and_keeps_what_was_typed(served):
    page = served.reader(then=STUDY)
    page.get_by_label("Note").fill("hairline, distal")
    told = served.hospital.story
    told.complete()
    told.claim()
    assert told.decide(priority=Priority.STAT)
    served.hospital.readers.claim(story.STUDY, "other", served.hospital.now, served.hospital.now)
    changed = page.get_by_role("alert").filter(has_text="This study has changed")
    expect(changed).to_contain_text("it is STAT")
    expect(page.locator("#now")).to_contain_text("STAT")
    expect(page.locator("#now")).to_contain_text("from routine, by the agent")
    expect(page.locator("#now")).to_contain_text("other reads this study.")
    expect(page.get_by_role("button", name="Claim")).to_have_count(0)
    changed.get_by_role("button", name="Show it as it is now").click()
    expect(page.locator(".found")).to_contain_text("Abnormal")
    expect(page.get_by_label("Note")).to_have_value("hairline, distal")
    assert page.evaluate("sessionStorage.getItem('typed')") is None
    with served.refusals():
        page.context.set_offline(True)
        expect(page.get_by_role("alert").filter(has_text="Not connected")).to_be_in_viewport()
        page.context.set_offline(False)
        expect(page.get_by_text("Not connected")).to_have_count(0)


def test_a_note_outlives_the_session_and_the_patient_is_not_shown_meanwhile(served):
    page = served.reader(then=STUDY)
    page.get_by_role("radio", name="Agree", exact=True).check()
    page.get_by_label("Note").fill("seen twice")
    with served.refusals():
        page.context.clear_cookies()
        page.get_by_role("button", name="Give feedback").click()
        over = page.get_by_role("alert").filter(has_text="Your session has ended.")
        expect(over).to_be_visible()
        expect(page.get_by_role("heading", name="Åkesson")).to_have_count(0)
        expect(page.locator("h1")).to_be_hidden()
        expect(page.locator(".pane").first).to_be_hidden()
        with page.context.expect_page() as opened:
            over.get_by_role("link").click()
        other = opened.value
        other.get_by_label("Name").fill("radiologist")
        other.get_by_label("Password").fill(PASSWORD)
        other.get_by_role("button", name="Sign in").click()
        expect(rows(other)).to_have_count(1)
        expect(page.locator("h1")).to_be_visible()
    expect(page.get_by_label("Note")).to_have_value("seen twice")
    page.get_by_role("button", name="Give feedback").click()
    expect(page.locator("#feedback-given")).to_contain_text("seen twice")
    (word,) = served.hospital.feedback.of_study(story.STUDY, 9)
    assert (word.reader, word.note) == ("radiologist", "seen twice")


def test_nothing_typed_is_sent_under_the_name_of_who_signs_in_next(served):
    served.hospital.person("second", Role.RADIOLOGIST)
    page = served.reader(then=STUDY)
    page.get_by_label("Note").fill("mine alone")
    with served.refusals():
        page.context.clear_cookies()
        other = page.context.new_page()
        other.goto("/login")
        other.get_by_label("Name").fill("second")
        other.get_by_label("Password").fill(PASSWORD)
        other.get_by_role("button", name="Sign in").click()
        expect(rows(other)).to_have_count(1)
        expect(page.locator(".who")).to_contain_text("second")
    expect(page.get_by_label("Note")).to_have_value("")


def test_claims_are_given_back_and_taken_over_on_the_list(served):
    hospital = served.hospital
    page = served.reader()
    page.get_by_role("button", name="Claim").click()
    page.get_by_role("button", name="Give back").click()
    expect(page.get_by_role("button", name="Claim")).to_be_visible()
    hospital.readers.claim(story.STUDY, "other", hospital.now - timedelta(hours=2), hospital.now - timedelta(hours=3))
    take = page.get_by_role("button", name="Take over")
    expect(take).to_be_visible()
    expect(page.get_by_role("button", name="Give back")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page.get_by_text("Press c again to take it over from other.")).to_be_visible()
    assert claimed(served).claimed_by == "other"
    page.keyboard.press("c")
    expect(page.locator(".owner")).to_have_text("radiologist")


def test_numbers_stand_as_they_are_beside_names_from_right_to_left_and_long_names_break_no_page(served):
    told = served.hospital.story
    told.receive("1.2.2", patient_name="שלום^דוד", patient_id="12345-67", accession_number="A77")
    told.receive("1.2.3", patient_name="W" * 64, patient_id="9" * 64, accession_number="X" * 16)
    for study in ("1.2.2.1", "1.2.3.1"):
        served.radiograph(study)
    page = served.reader(viewport={"width": 390, "height": 800})
    signs = """number => [...number.textContent].map((_, at) => {
        const range = document.createRange();
        range.setStart(number.firstChild, at);
        range.setEnd(number.firstChild, at + 1);
        return range.getBoundingClientRect().left;
    })"""
    for path, number in (
        ("/", '[data-uid="1.2.2"] [data-head="Patient"] .why bdi'),
        ("/studies/1.2.2", "h1 .number bdi"),
        ("/studies/1.2.3", "h1 .number bdi"),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
        if "1.2.3" not in path:
            places = page.locator(number).evaluate(signs)
            assert places == sorted(places), path
            assert page.locator(number).inner_text() == "12345-67"
