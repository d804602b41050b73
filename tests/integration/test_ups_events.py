"""Subscribers are told of workitems by N-EVENT-REPORT (PS3.4 sections CC.2.3 and CC.2.4), and nothing is forgotten."""

import gc
import threading
from datetime import timedelta

import pytest
from support.listener import utc_now
from support.story import STUDY, Story, flag
from support.ups import (
    FILTERED,
    Watcher,
    act,
    calling,
    claim,
    performed,
    subscribe,
    ups_agent,
    watching,
)

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.ups_client import ReportClient
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import workitem_uid

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

OTHER = "1.2.2"
UID, OTHER_UID = workitem_uid(STUDY), workitem_uid(OTHER)
STATE, CANCEL, PROGRESS = 1, 2, 3
QUICK = RetryPolicy(first=timedelta(seconds=0.01), longest=timedelta(seconds=0.02))


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def watcher():
    return Watcher()


@pytest.fixture
def listening(watcher):
    with watching(watcher) as port:
        yield port


@pytest.fixture
def running(tmp_path, sqlite_url, listening):
    with ups_agent(sqlite_url, tmp_path / "spool", listening, QUICK) as agent:
        yield agent


@pytest.fixture
def story(running):
    told = Story(running.worklist)
    told.receive(STUDY, patient_id="P1")
    running.tell()  # of what came before anybody subscribed
    return told


@pytest.fixture
def caller(running, story):
    """The subscriber's own association: it may query, and have itself told."""
    with calling(running.port, "WATCHER") as association:
        yield association


@pytest.fixture
def reader(running, story):
    with calling(running.port) as association:
        yield association


def told(running, watcher):
    """What has been told since the last time: [(event type, workitem, state or priority)]."""
    running.tell()
    said = [(kind, uid, _gist(kind, information)) for kind, uid, information, _ in watcher.told]
    watcher.told.clear()
    return said


def _gist(kind, information):
    if kind == STATE:
        return information.ProcedureStepState, information.InputReadinessState
    return information.get("ScheduledProcedureStepPriority") or information.get("ReasonForCancellation")


def test_a_subscription_begins_with_the_state_as_it_is(running, watcher, caller):
    assert subscribe(caller, UID) == 0
    assert told(running, watcher) == [(STATE, UID, ("SCHEDULED", "INCOMPLETE"))]


def test_a_raise_is_told_with_the_new_priority(running, watcher, story, caller):
    subscribe(caller)
    assert told(running, watcher) == []
    story.worklist.raise_flag(flag(at=story.tick()), (), story.now)
    running.tell()
    ((kind, uid, information),) = watcher.wait_for(1)
    assert (kind, uid, information.ScheduledProcedureStepPriority) == (PROGRESS, UID, "MEDIUM")
    (progress,) = information.ProcedureStepProgressInformationSequence
    assert progress.ProcedureStepProgressDescription == "priority MEDIUM, was LOW"


def test_each_way_to_raise_is_told(running, watcher, story, caller):
    subscribe(caller)
    story.receive(STUDY, requested_priority=Priority.URGENT)
    assert told(running, watcher) == [(PROGRESS, UID, "MEDIUM")]
    story.complete()
    assert told(running, watcher) == [(STATE, UID, ("SCHEDULED", "READY"))]
    story.claim()
    story.decide(priority=Priority.STAT)
    assert told(running, watcher) == [(PROGRESS, UID, "HIGH")]


def test_a_new_study_is_told_to_whom_all_are_told(running, watcher, story, caller):
    subscribe(caller)
    story.receive(OTHER, requested_priority=Priority.STAT)
    running.tell()
    ((kind, uid, information),) = watcher.wait_for(1)
    assert (kind, uid, information.ProcedureStepState) == (STATE, OTHER_UID, "SCHEDULED")
    assert information.ScheduledProcedureStepPriority == "HIGH"


def test_with_a_deletion_lock_every_open_workitem_is_told_at_once(running, watcher, story, caller):
    story.receive(OTHER)
    running.tell()
    assert subscribe(caller, lock="TRUE") == 0
    assert [uid for _, uid, _ in told(running, watcher)] == [UID, OTHER_UID]


def test_a_workitem_is_told_from_claim_to_completion(running, watcher, caller, reader):
    subscribe(caller)
    claim(reader, UID)
    given = performed()
    given.TransactionUID = "2.25.77"
    reader.send_n_set(given, "1.2.840.10008.5.1.4.34.6.1", UID, meta_uid="1.2.840.10008.5.1.4.34.6.3")
    act(reader, 1, UID, ProcedureStepState="COMPLETED", TransactionUID="2.25.77")
    assert told(running, watcher) == [
        (STATE, UID, ("IN PROGRESS", "INCOMPLETE")),
        (STATE, UID, ("COMPLETED", "INCOMPLETE")),
    ]


def test_what_is_canceled_before_it_began_is_told_in_both_steps(running, watcher, caller, reader):
    subscribe(caller)
    assert act(reader, 2, UID) == 0
    assert [gist for _, _, gist in told(running, watcher)] == [
        ("IN PROGRESS", "INCOMPLETE"),
        ("CANCELED", "INCOMPLETE"),
    ]


def test_a_wish_to_cancel_reaches_who_listens(running, watcher, caller, reader):
    subscribe(caller)
    claim(reader, UID)
    told(running, watcher)
    assert act(reader, 2, UID, ReasonForCancellation="wrong patient") == 0
    assert told(running, watcher) == [(CANCEL, UID, "wrong patient")]


def test_who_has_unsubscribed_is_told_no_more(running, watcher, story, caller):
    subscribe(caller)
    story.receive(STUDY, requested_priority=Priority.URGENT)
    running.workitems.tell_changes(story.now, 10)
    assert subscribe(caller, action=4) == 0
    story.receive(STUDY, requested_priority=Priority.STAT)
    assert told(running, watcher) == []


def test_one_workitem_can_be_left_out_of_all(running, watcher, story, caller):
    subscribe(caller)
    assert subscribe(caller, UID, action=4) == 0
    story.receive(STUDY, requested_priority=Priority.STAT)
    story.receive(OTHER)
    assert [uid for _, uid, _ in told(running, watcher)] == [OTHER_UID]


def test_a_suspended_subscription_goes_on_for_what_is_here(running, watcher, story, caller):
    subscribe(caller)
    assert subscribe(caller, action=5) == 0
    story.now += timedelta(days=3650)  # the story's clock is behind the listener's
    story.receive(OTHER, requested_priority=Priority.STAT)
    story.receive(STUDY, requested_priority=Priority.STAT)
    assert told(running, watcher) == [(PROGRESS, UID, "HIGH")]
    assert subscribe(caller, UID, action=5) == 0xC314


def test_a_subscription_to_what_is_urgent_tells_of_each_raise_to_it(running, watcher, story, caller):
    assert subscribe(caller, FILTERED, ScheduledProcedureStepPriority="HIGH") == 0
    story.receive(OTHER)
    story.receive(STUDY, requested_priority=Priority.URGENT)
    assert told(running, watcher) == []
    story.receive(STUDY, requested_priority=Priority.STAT)
    assert told(running, watcher) == [(PROGRESS, UID, "HIGH")]


def test_a_filter_that_cannot_be_told_by_is_refused(caller):
    assert subscribe(caller, FILTERED) == 0x0115
    assert subscribe(caller, FILTERED, PatientName="Doe*") == 0x0115


def test_nobody_is_subscribed_who_cannot_be_reached_or_by_who_may_not(running, caller, reader):
    assert subscribe(caller, receiver="READER") == 0x0124
    assert subscribe(reader, receiver="WATCHER") == 0
    assert subscribe(reader, receiver="NOBODY") == 0xC308
    assert subscribe(caller, "1.2.3.4") == 0xC307


def test_a_subscriber_that_is_away_is_told_everything_in_order_when_it_is_back(
    tmp_path, sqlite_url, free_port, watcher
):
    with ups_agent(sqlite_url, tmp_path / "spool", free_port, QUICK) as running:
        story = Story(running.worklist)
        story.receive(STUDY)
        running.tell()
        with calling(running.port, "WATCHER") as caller:
            subscribe(caller, UID)
        story.receive(STUDY, requested_priority=Priority.URGENT)
        running.announcer.step()
        story.receive(STUDY, requested_priority=Priority.STAT)
        running.announcer.step()
    # Another process goes on with what this one did not get told.
    with watching(watcher, free_port), ups_agent(sqlite_url, tmp_path / "spool", free_port, QUICK) as running:
        later = running.announcer._clock
        running.announcer._clock = lambda: later() + timedelta(hours=1)  # past every retry
        assert told(running, watcher) == [
            (STATE, UID, ("SCHEDULED", "INCOMPLETE")),
            (PROGRESS, UID, "MEDIUM"),
            (PROGRESS, UID, "HIGH"),
        ]


def test_a_subscriber_that_refuses_a_report_has_been_told(running, watcher, caller):
    watcher.status = 0x0113
    subscribe(caller, UID)
    assert len(told(running, watcher)) == 1
    assert told(running, watcher) == []


def test_one_that_cannot_take_it_now_is_told_again(running, watcher, caller):
    watcher.status = 0x0213
    subscribe(caller, UID)
    running.announcer.step()
    watcher.wait_for(1)
    watcher.status = 0
    running.announcer._away.clear()
    later = running.announcer._clock
    running.announcer._clock = lambda: later() + timedelta(hours=1)
    assert len(told(running, watcher)) == 2


def test_one_that_does_not_answer_is_not_waited_for_without_end(running, listening, watcher, caller):
    release = threading.Event()
    watcher.before = release
    peer = Peer(name="watcher", ae_title="WATCHER", host="127.0.0.1", port=listening, may=frozenset())
    client = ReportClient(peer, calling_ae_title="TRIAGE", answer_seconds=0.3)
    subscribe(caller, UID)
    (report,) = running.workitems.claim_reports(utc_now(), utc_now() + timedelta(seconds=60), (), 1)
    try:
        with pytest.raises(DeliveryError, match="no answer") as caught:
            client.tell(report)
    finally:
        release.set()
        client.close()
    assert caught.value.away


def test_nobody_is_told_of_anything_where_nobody_subscribed(running, watcher, story):
    story.receive(STUDY, requested_priority=Priority.STAT)
    assert told(running, watcher) == []
