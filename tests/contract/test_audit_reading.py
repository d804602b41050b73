"""The audit trail's one reader on SQLite and Postgres: found by any filter, each page a few ranges of an index."""

from datetime import timedelta

import pytest
from sqlalchemy import event as on
from sqlalchemy import text
from support.auditing import T0, event
from support.story import Story

from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist import SqlAuditLog, SqlWorklist

SAW = frozenset({AuditAction.STUDY_VIEWED, AuditAction.STUDIES_LISTED})


@pytest.fixture
def site(engine):
    worklist = SqlWorklist(engine)
    return worklist, SqlAuditLog(worklist.database)


def fill(worklist, number):
    """Every action by three people on five studies; times that repeat, and that go back."""
    actions = (AuditAction.STUDY_VIEWED, AuditAction.STUDIES_LISTED, AuditAction.SIGNED_IN, AuditAction.DELIVERY_SENT)
    for one in range(number):
        at = T0 + timedelta(seconds=one // 3 - (20 if one % 10 == 0 else 0))
        changes = {"actor": f"dr.{one % 3}", "action": actions[one % 4], "study_instance_uid": f"1.2.{one % 5}"}
        worklist.record_audit(event(one, at=at, **changes))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"actor": "dr.1"},
        {"actor": "dr.1", "actions": SAW},
        {"actions": SAW},
        {"action": AuditAction.SIGNED_IN},
        {"study_instance_uid": "1.2.3"},
        {"studies": ("1.2.3", "1.2.4"), "actions": SAW, "actor": "dr.0"},
        {"studies": ()},
        {"studies": ("1.2.3",), "study_instance_uid": "1.2.4"},
        {"since": T0 + timedelta(seconds=5), "until": T0 + timedelta(seconds=20)},
        {"actor": "dr.2", "since": T0 + timedelta(seconds=5), "until": T0 + timedelta(seconds=20)},
        {"actor": "nobody"},
    ],
)
def test_every_filter_finds_what_it_says_page_by_page_and_both_ways(site, asked):
    worklist, trail = site
    fill(worklist, 120)
    wanted = sorted(trail.latest(1000), key=lambda one: (one.at, one.id))
    question = AuditQuestion(**asked)
    expected = [one.id for one in wanted if fits(one.event, question)]
    assert [one.id for one in trail.walk(AuditQuestion(limit=None, **asked))] == expected
    paged, before = [], None
    while page := trail.records(AuditQuestion(limit=7, before=before, **asked)):
        paged += [one.id for one in page]
        before = page[-1].id
    assert paged == expected[::-1]


def fits(event, question):
    studies, actions = question.wanted_studies, question.wanted_actions
    return (
        (studies is None or event.study_instance_uid in studies)
        and (not actions or event.action in actions)
        and question.actor in {"", event.actor}
        and (question.since is None or event.at >= question.since)
        and (question.until is None or event.at < question.until)
    )


def test_a_patients_studies_are_found_by_number_and_by_the_beginning_of_the_name(site):
    worklist, trail = site
    story = Story(worklist)
    for number, name in enumerate(("Åkesson^Görel", "Akerman^Bo", "Öst^Eva")):
        study = f"1.2.{number}"
        story.receive(study=study, image=f"{study}.1", patient_id=f"P{number}", patient_name=name)
    assert set(trail.studies_of_patient("ake", 10)) == {"1.2.0", "1.2.1"}
    assert len(trail.studies_of_patient("ake", 1)) == 1
    assert list(trail.studies_of_patient("p2", 10)) == ["1.2.2"]
    for nobody in ("p", "%", "_", "", "   ", "^"):
        assert list(trail.studies_of_patient(nobody, 10)) == []


def test_no_question_looks_at_the_whole_log(site, engine):
    """SQLite's plans do not depend on how many rows there are; Postgres's do."""
    if engine.dialect.name != "sqlite":
        return  # a server scans a small table, whatever indexes it has
    worklist, trail = site
    fill(worklist, 40)
    last, asked = trail.latest(1)[0].id, []
    on.listen(engine, "before_cursor_execute", lambda _c, _k, statement, given, *_: asked.append((statement, given)))
    for one in ({}, {"actor": "dr.1"}, {"actions": SAW}, {"studies": ("1.2.1", "1.2.2"), "actions": SAW}):
        trail.records(AuditQuestion(before=last, since=T0, **one))
    questions = [one for one in asked if "FROM audit_events" in one[0]]
    assert len(questions) >= 8
    with engine.connect() as connection:
        for statement, given in questions:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)]
            assert not [step for step in steps if step.startswith("SCAN audit_events")]


def test_records_that_were_tampered_with_are_read_as_they_are(site, engine):
    if engine.dialect.name != "sqlite":
        return  # Postgres keeps the types of columns
    worklist, trail = site
    fill(worklist, 12)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_events (id, at, action, actor, detail)"
                " VALUES (900, 'zzz', 'no such', 'dr.1', '{'), (901, 5, 'no such', 'dr.1', '{}')"
            )
        )
    for question in (AuditQuestion(limit=None), AuditQuestion(limit=None, actor="dr.1")):
        assert {900, 901} < {one.id for one in trail.walk(question)}
        assert {900, 901} < {one.id for one in trail.records(question)}
    (newest, *_), (*_, oldest) = trail.records(AuditQuestion()), trail.records(AuditQuestion())
    assert (newest.at, oldest.at) == ("zzz", 5)
    assert [one.id for one in trail.records(AuditQuestion(before=900, limit=1))] != [900]
