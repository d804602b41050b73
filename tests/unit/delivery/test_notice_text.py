"""What a message says, and what it does not say unless the site wants it."""

import json

import pytest
from support.story import STUDY, T0

from triage_agent.delivery.notice_text import Wording, document_of, subject_of, text_of, unknown_places
from triage_agent.domain.notice import Message, Notice, NoticeKind

FOUND = Notice(
    kind=NoticeKind.STAT,
    at=T0,
    study_instance_uid=STUDY,
    accession_number="A1/7",
    anatomy="XR_KNEE",
    finding="abnormal",
    probability=0.934,
    rule="abnormal knees",
)
FAILING = Notice(kind=NoticeKind.ROUTE_FAILING, at=T0, detail={"destination": "pacs", "failing_since": T0.isoformat()})
ALL = frozenset({"study_uid", "accession_number", "anatomy", "finding"})
LINK = "https://viewer.example/?study={study_uid}&acc={accession_number}"


def message(*notices, count=None):
    return Message(
        channel="mail",
        number=1,
        uid="11-22",
        attempt=1,
        count=count or len(notices),
        since=T0,
        notices=notices,
    )


def parts(notice, **wording):
    said = message(notice)
    words = Wording(**wording)
    return subject_of(said, words), text_of(said, words), document_of(said, words, "1.2").decode()


def test_by_default_nothing_tells_which_study_it_is():
    for part in parts(FOUND):
        assert all(value not in part for value in (STUDY, "A1", "XR_KNEE", "abnormal", "0.93", "://"))
        assert "STAT" in part


def test_it_says_that_it_is_preliminary_and_machine_made():
    _, text, document = parts(FOUND)
    assert "Preliminary and machine-made" in text
    told = json.loads(document)
    assert (told["preliminary"], told["made_by"]) == (True, "triage-agent 1.2")
    assert "Preliminary and machine-made" in told["text"]


def test_a_site_has_it_say_more():
    subject, text, document = parts(FOUND, include=ALL, link=LINK, prefix="[triage]", agent="TRIAGE at St Mary's")
    assert subject.startswith("[triage] ")
    assert STUDY not in subject
    for words in ("A1/7", STUDY, "XR_KNEE", "abnormal, 0.93 (rule abnormal knees)", "From TRIAGE at St Mary's"):
        assert words in text
    (notice,) = json.loads(document)["notices"]
    assert notice == {
        "event": "stat",
        "at": "2026-03-01T09:30:00+00:00",
        "study_uid": STUDY,
        "accession_number": "A1/7",
        "anatomy": "XR_KNEE",
        "finding": "abnormal",
        "probability": "0.93",
        "rule": "abnormal knees",
        "link": f"https://viewer.example/?study={STUDY}&acc=A1%2F7",
    }
    assert notice["link"] in text


def test_a_link_that_cannot_be_filled_in_is_left_out():
    assert "://" not in parts(FAILING, link=LINK)[1]
    assert "https://worklist.example" in parts(FAILING, link="https://worklist.example")[1]


def test_what_a_header_says_is_shown_escaped_and_cut():
    hostile = Notice(kind=NoticeKind.STAT, at=T0, accession_number="A\r\nBcc: x\x1b[2J" + "9" * 200)
    subject, text, document = parts(hostile, include=ALL)
    assert "\r" not in subject + text
    assert "\x1b" not in text + document
    assert "Accession number: A\\x0d\\x0aBcc" in text
    assert "9" * 80 not in text


def test_a_route_is_told_by_name_and_time_of_the_site_s_clock():
    assert parts(FAILING)[0] == "Nothing can be delivered to pacs, since 2026-03-01 09:30:00 UTC"


def test_many_are_counted_and_some_are_told():
    said = message(FOUND, FOUND, FAILING, count=70)
    assert subject_of(said, Wording()) == "70 notices (2 STAT, 1 route fails, and 67 more)"
    assert "... and 67 more" in text_of(said, Wording())
    assert json.loads(document_of(said, Wording(), "1"))["count"] == 70


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_kind_has_words(kind):
    subject, text, _ = parts(Notice(kind=kind, at=T0))
    assert subject
    assert subject in text


def test_a_link_s_template_knows_two_words():
    assert unknown_places(LINK) == []
    assert unknown_places("https://x/{patient_name}{0}") == ["patient_name", "0"]
