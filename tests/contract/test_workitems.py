"""Workitems on both databases: one claimer wins, every change of a study is marked, reports leave in order and once."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import inspect
from support.story import STUDY, Story, flag, shipment

from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.domain.waits import LongestWaits
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.domain.workitem import GLOBAL, ReportType, StepState, Verdict, WorkitemQuery, workitem_uid
from triage_agent.worklist import SqlWorklist
from triage_agent.worklist.workitem_rows import ReportRow, SubscriptionRow, WorkitemRow
from triage_agent.worklist.workitems import workitems_of

UID = workitem_uid(STUDY)
LONG = timedelta(minutes=5)


@pytest.fixture
def story(engine):
    told = Story(SqlWorklist(engine))
    told.workitems = workitems_of(told.worklist)
    return told


def reports(story):
    """Claim and take what waits: [(subscriber, type, workitem)]."""
    taken = []
    while claimed := story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10):
        for report in claimed:
            story.workitems.report_sent(report, story.tick())
            taken.append((report.subscriber, report.type, report.workitem_uid))
    return taken


def told(story):
    """Make reports of what has changed, and take them."""
    story.workitems.tell_changes(story.tick(), 100)
    return reports(story)


def state_of(story):
    (found,) = story.workitems.workitems([UID])
    return found.state


def test_the_tables_are_as_the_migration_made_them(engine):
    inspector = inspect(engine)
    for row in (WorkitemRow, SubscriptionRow, ReportRow):
        table = row.__table__
        found = {one["name"]: one["nullable"] for one in inspector.get_columns(table.name)}
        assert found == {column.name: bool(column.nullable) for column in table.columns}
        assert {one["name"] for one in inspector.get_indexes(table.name)} >= {index.name for index in table.indexes}


def test_of_many_that_claim_one_wins(story):
    story.receive()
    verdicts = []

    def claim(number):
        verdicts.append(
            story.workitems.change_state(UID, StepState.IN_PROGRESS, f"2.25.{number}", f"READER{number}", story.now)
        )

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(verdicts) == [Verdict.DONE, *[Verdict.ALREADY_IN_PROGRESS] * 4]


def test_whoever_raises_a_study_its_workitem_is_marked(story):
    story.workitems.subscribe("WATCHER", GLOBAL, {}, story.now, lock=False)
    story.receive()
    assert told(story) == [("WATCHER", ReportType.STATE, UID)]
    assert told(story) == []
    story.worklist.raise_flag(flag(at=story.tick()), (), story.now)
    assert told(story) == [("WATCHER", ReportType.PROGRESS, UID)]
    story.receive(requested_priority=Priority.STAT)
    assert told(story) == [("WATCHER", ReportType.PROGRESS, UID)]
    story.complete()
    assert told(story) == [("WATCHER", ReportType.STATE, UID)]


def test_a_raise_before_anybody_looked_is_told_as_one_all_the_same(story):
    story.workitems.subscribe("WATCHER", GLOBAL, {}, story.now, lock=False)
    story.receive()
    story.worklist.raise_flag(flag(at=story.tick()), (), story.now)
    assert [kind for _, kind, _ in told(story)] == [ReportType.STATE, ReportType.PROGRESS]


def test_a_report_is_held_by_one_and_comes_back_when_it_is_not_told(story):
    story.receive()
    story.workitems.subscribe("WATCHER", UID, {}, story.now, lock=False)
    (held,) = story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)
    assert story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10) == []
    story.workitems.report_failed(held, "away", story.tick())
    (again,) = story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)
    assert (again.report_id, again.attempt) == (held.report_id, 2)
    story.workitems.report_failed(again, "gone", None)
    assert story.workitems.claim_reports(story.tick(2 * LONG), story.now + LONG, (), 10) == []


def test_a_clock_that_is_set_back_holds_no_report_up(story):
    story.receive()
    story.workitems.subscribe("WATCHER", UID, {}, story.now, lock=False)
    (held,) = story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)
    story.workitems.report_failed(held, "away", story.now + LONG)
    story.now -= timedelta(hours=1)
    assert story.worklist.bring_deadlines_near(story.now, LongestWaits()) >= 1
    assert len(story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)) == 1


def test_reports_that_are_being_told_are_nobody_elses_though_no_clock_was_set_back(story):
    story.receive()
    story.receive("1.2.2")
    story.workitems.subscribe("WATCHER", GLOBAL, {}, story.now, lock=True)
    first, second = story.workitems.claim_reports(story.tick(), story.now + LongestWaits().telling, (), 10)
    assert story.worklist.bring_deadlines_near(story.tick(), LongestWaits()) == 0
    story.workitems.report_sent(first, story.tick())
    assert story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10) == []
    story.now -= timedelta(hours=1)
    assert story.worklist.bring_deadlines_near(story.now, LongestWaits()) >= 1
    assert [one.report_id for one in story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)] == [
        second.report_id
    ]


def test_one_that_is_away_holds_up_nobody_else(story):
    story.receive()
    for title in ("AWAY", "HERE"):
        story.workitems.subscribe(title, UID, {}, story.tick(), lock=False)
    claimed = story.workitems.claim_reports(story.tick(), story.now + LONG, {"AWAY"}, 10)
    assert [report.subscriber for report in claimed] == ["HERE"]


def test_queries_choose_in_the_database(story):
    story.receive("1.2.1", requested_priority=Priority.STAT)
    story.receive("1.2.2")
    story.workitems.change_state(UID, StepState.IN_PROGRESS, "2.25.1", "READER", story.now)

    def found(**query):
        return story.workitems.matching(WorkitemQuery(**query), 10)

    assert found() == [workitem_uid("1.2.1"), workitem_uid("1.2.2")]
    assert found(priorities=[Priority.STAT]) == [workitem_uid("1.2.1")]
    assert found(states=[StepState.SCHEDULED]) == [workitem_uid("1.2.2")]
    assert found(states=[]) == []
    assert found(uids=[UID, "1.2.3"]) == [UID]
    assert found(study_instance_uids=["1.2.2"]) == [workitem_uid("1.2.2")]
    assert state_of(story) is StepState.IN_PROGRESS


def test_a_workitem_lists_what_was_sent_and_not_what_was_withdrawn(story):
    story.decided(shipment("2.25.1", body=b"one"), shipment("2.25.1", "archive", body=b"one"))
    story.send()

    def outputs():
        (found,) = story.workitems.workitems([UID], objects=True)
        return [(destination, bytes(body)) for destination, body in found.study.outputs]

    assert outputs() == [("pacs", b"one"), ("archive", b"one")]
    note = shipment("2.25.9", "pacs", ArtifactKind.REJECTION)
    stands = story.worklist.objects_of(STUDY)
    story.worklist.withdraw(STUDY, [note], stands, reason=RejectionReason.QUALITY, actor="admin", now=story.tick())
    assert outputs() == []


def test_only_those_asked_for_are_told_and_others_wait(story):
    story.receive()
    for title in ("HERE", "THERE"):
        story.workitems.subscribe(title, UID, {}, story.tick(), lock=False)
    claimed = story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10, among={"THERE"})
    assert [report.subscriber for report in claimed] == ["THERE"]
    assert story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10, among={"THERE", "NOBODY"}) == []
    assert story.workitems.drop_reports({"THERE"}, story.now, story.now) == 1
    assert [report.subscriber for report in story.workitems.claim_reports(story.tick(), story.now + LONG, (), 10)] == [
        "HERE"
    ]


def test_a_workitem_that_a_peer_posted_under_a_studys_uid_stays_and_the_study_has_the_next(story):
    posted = {"00741200": {"vr": "CS", "Value": ["LOW"]}}
    assert story.workitems.create(UID, posted, "OTHER", story.tick()) is Verdict.DONE
    story.receive()
    theirs, ours = story.workitems.workitems([UID, workitem_uid(STUDY, 2)])
    assert (theirs.posted_by, theirs.study, theirs.attributes) == ("OTHER", None, posted)
    assert ours.study.study_instance_uid == STUDY
    story.workitems.create(workitem_uid(STUDY, 3), posted, "OTHER", story.tick())
    story.decided()
    story.workitems.request_cancel(workitem_uid(STUDY, 2), {}, "OTHER", story.tick())
    story.receive()  # a new revision
    story.workitems.tell_changes(story.tick(), 100)
    assert [one.state for one in story.workitems.workitems([workitem_uid(STUDY, 4)])] == [StepState.SCHEDULED]
