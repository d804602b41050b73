"""What readers say of results, on both databases: only ever added, audited, and nothing else changes by it."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from support.story import MODEL, STUDY, Story

from triage_agent.domain.feedback import Verdict
from triage_agent.domain.vocabulary import AuditAction, Finding
from triage_agent.worklist import SqlFeedback, SqlWorklist


class Desk:
    def __init__(self, engine):
        self.worklist = SqlWorklist(engine)
        self.story = Story(self.worklist)
        self.book = SqlFeedback(self.worklist.database)

    def give(self, verdict=Verdict.AGREE, reader="ada", note="", study=STUDY):
        return self.book.give(study, reader, verdict, note, self.story.tick())


@pytest.fixture
def desk(engine):
    made = Desk(engine)
    made.story.decided()
    return made


def test_a_word_is_kept_with_what_the_agent_had_said_then(desk):
    assert desk.give(Verdict.OVERCALLED, note="old fracture")
    (word,) = desk.book.of_study(STUDY, 10)
    assert (word.reader, word.verdict, word.note, word.at) == (
        "ada",
        Verdict.OVERCALLED,
        "old fracture",
        desk.story.now,
    )
    said = word.said
    assert (said.revision, said.finding, said.probability, said.region) == (1, Finding.ABNORMAL, 0.8, "XR_KNEE")
    assert (said.bundle, said.rule) == (MODEL.label, "abnormal")


def test_the_trail_says_who_and_what_and_never_the_note(desk):
    desk.give(Verdict.MISSED, note="Jane Doe, ward 4")
    (event,) = [one for one in desk.worklist.study(STUDY).audit if one.action is AuditAction.FEEDBACK_GIVEN]
    assert (event.actor, dict(event.detail)) == ("ada", {"verdict": "missed", "revision": 1, "note": True})


def test_nothing_of_the_study_changes(desk):
    before = desk.story.item()
    desk.give(Verdict.MISSED)
    assert desk.story.item() == before


def test_a_later_word_supersedes_and_the_earlier_stays(desk):
    desk.give(Verdict.AGREE)
    desk.give(Verdict.AGREE, reader="bob")
    desk.give(Verdict.OVERCALLED)
    assert [word.verdict for word in desk.book.of_study(STUDY, 10)] == [
        Verdict.OVERCALLED,
        Verdict.AGREE,
        Verdict.AGREE,
    ]
    standing = desk.book.labelled(None, None, 100)
    assert [(one.feedback.reader, one.feedback.verdict) for one in standing] == [
        ("bob", Verdict.AGREE),
        ("ada", Verdict.OVERCALLED),
    ]
    assert [one.paths for one in standing] == [(f"{STUDY}.1.dcm",)] * 2


def test_a_time_can_be_asked_for(desk):
    desk.give()
    between = desk.story.tick()
    desk.give(reader="bob")
    assert [word.reader for word in desk.book.given(between, None, 10)] == ["bob"]
    assert [word.reader for word in desk.book.given(None, between, 10)] == ["ada"]
    assert desk.book.given(between - timedelta(days=2), between - timedelta(days=1), 10) == []
    assert len(desk.book.given(None, None, 1)) == 1


def test_of_a_study_that_is_not_here_nothing_is_kept(desk):
    assert not desk.give(study="1.9.9")
    assert desk.book.given(None, None, 10) == []


@pytest.mark.parametrize("statement", ["UPDATE feedback SET verdict = 'missed'", "DELETE FROM feedback"])
def test_the_database_refuses_to_change_a_word(desk, engine, statement):
    desk.give()
    with pytest.raises(IntegrityError, match="never changed"), engine.begin() as connection:
        connection.execute(text(statement))


def test_what_has_not_been_decided_can_be_judged_too(desk):
    desk.story.receive("1.2.7")
    assert desk.give(Verdict.POOR_IMAGE, study="1.2.7")
    (word,) = desk.book.of_study("1.2.7", 1)
    assert (word.said.finding, word.said.probability, word.said.bundle) == (None, None, None)
