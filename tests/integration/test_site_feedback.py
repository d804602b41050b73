"""Feedback on the page of a study, as readers give it and others see it."""

import pytest
from support.site import Hospital, csrf_of
from support.story import STUDY

from triage_agent.domain.feedback import LONGEST_NOTE
from triage_agent.domain.vocabulary import AuditAction

FORM = f"/studies/{STUDY}/feedback"


@pytest.fixture
def hospital(tmp_path):
    made = Hospital(tmp_path)
    made.story.complete()
    made.story.claim()
    made.story.decide()
    yield made
    made.engine.dispose()


def given(hospital, **form):
    browser = hospital.browser("radiologist")
    return browser, browser.post(FORM, data={"csrf": csrf_of(browser.get(f"/studies/{STUDY}")), **form})


def test_a_reader_says_what_is_wrong_and_everybody_sees_it(hospital):
    _, answer = given(hospital, verdict="missed", note="line\r\nof <b>fracture</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{STUDY}#feedback-given")
    page = hospital.browser("auditor").get(f"/studies/{STUDY}").text
    assert "Disagree: missed" in page
    assert "line\nof &lt;b&gt;fracture&lt;/b&gt;" in page
    assert 'name="verdict"' not in page  # only radiologists are asked
    (event,) = hospital.audited(AuditAction.FEEDBACK_GIVEN)
    assert (event.actor, event.detail["verdict"]) == ("radiologist", "missed")


def test_a_program_gets_an_answer_of_its_own(hospital):
    browser = hospital.browser("radiologist")
    token = csrf_of(browser.get("/password"))
    answer = browser.post(FORM, data={"csrf": token, "verdict": "agree"}, headers={"Accept": "application/json"})
    assert answer.json() == {"done": True, "to": "#feedback-given"}


@pytest.mark.parametrize(
    "form", [{}, {"verdict": "perhaps"}, {"verdict": "agree", "note": "x" * (LONGEST_NOTE + 1)}], ids=str
)
def test_what_is_no_feedback_is_not_kept(hospital, form):
    _, answer = given(hospital, **form)
    assert answer.status_code == 400
    assert hospital.feedback.given(None, None, 10) == []


def test_the_longest_note_is_counted_as_browsers_count(hospital):
    _, answer = given(hospital, verdict="agree", note="\r\n".join(["x" * 499, "y" * 500]))
    assert answer.status_code == 303
    (word,) = hospital.feedback.given(None, None, 10)
    assert len(word.note) == LONGEST_NOTE


def test_a_study_that_is_not_here_is_404(hospital):
    browser, _ = given(hospital, verdict="agree")
    token = csrf_of(browser.get("/password"))
    for path in ("/studies/1.2.9/feedback", "/studies/..%2f/feedback"):
        assert browser.post(path, data={"csrf": token, "verdict": "agree"}).status_code == 404


def test_what_was_said_of_an_earlier_revision_says_so(hospital):
    given(hospital, verdict="overcalled")
    hospital.story.receive()
    assert "of revision 1, which said: Abnormal 80 %" in hospital.browser("admin").get(f"/studies/{STUDY}").text
