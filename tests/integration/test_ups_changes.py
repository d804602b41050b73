"""Workitems claimed, changed, completed, canceled and posted over real associations (PS3.4 CC.2.1 to CC.2.6)."""

import gc

import pytest
from pydicom import Dataset
from support.story import STUDY, Story
from support.ups import PULL, PUSH, WATCH, act, calling, claim, coded, find, keys, performed, ups_agent

from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction, Priority
from triage_agent.domain.workitem import workitem_uid

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

UID = workitem_uid(STUDY)
MINE, THEIRS = "2.25.77", "2.25.78"


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def running(tmp_path, sqlite_url):
    with ups_agent(sqlite_url, tmp_path / "spool") as agent:
        yield agent


@pytest.fixture
def story(running):
    told = Story(running.worklist)
    told.receive(STUDY, patient_id="P1")
    return told


@pytest.fixture
def reader(running, story):
    with calling(running.port) as association:
        yield association


def seen(reader, uid=UID):
    (found,), _ = find(reader, keys(SOPInstanceUID=uid))
    return found


def state(reader, uid=UID):
    return seen(reader, uid).ProcedureStepState


def put(reader, given, uid=UID, transaction=MINE):
    """The status of an N-SET."""
    if transaction:
        given.TransactionUID = transaction
    status, _ = reader.send_n_set(given, PUSH, uid, meta_uid=PULL)
    return status.Status


def change(reader, wanted, transaction=MINE, uid=UID):
    return act(reader, 1, uid, ProcedureStepState=wanted, TransactionUID=transaction)


def test_a_workitem_is_claimed_set_and_completed(running, reader):
    assert claim(reader, UID, MINE) == 0
    assert state(reader) == "IN PROGRESS"
    assert put(reader, performed()) == 0
    assert change(reader, "COMPLETED") == 0
    assert state(reader) == "COMPLETED"
    changed = [one for one in running.worklist.study(STUDY).audit if one.action is AuditAction.WORKITEM_CHANGED]
    assert [(one.actor, one.detail["to"]) for one in changed] == [
        ("READER", "IN PROGRESS"),
        ("READER", "updated"),
        ("READER", "COMPLETED"),
    ]


def test_what_another_has_claimed_is_not_claimed_again(reader):
    assert claim(reader, UID, MINE) == 0
    assert claim(reader, UID, THEIRS) == 0xC302


def test_only_the_claimer_changes_what_it_claimed(reader):
    claim(reader, UID, MINE)
    assert put(reader, performed(), transaction=THEIRS) == 0xC301
    assert put(reader, performed(), transaction=None) == 0xC301
    assert change(reader, "COMPLETED", THEIRS) == 0xC301
    assert change(reader, "CANCELED", "") == 0xC301
    assert state(reader) == "IN PROGRESS"


def test_nothing_is_completed_that_nobody_began(reader):
    assert change(reader, "COMPLETED") == 0xC310
    assert change(reader, "CANCELED") == 0xC310
    assert change(reader, "IN PROGRESS", "") == 0xC301


def test_nothing_becomes_scheduled_again(reader):
    assert change(reader, "SCHEDULED") == 0xC303
    claim(reader, UID)
    assert change(reader, "SCHEDULED") == 0xC303


def test_nothing_is_completed_before_it_says_what_was_performed(reader):
    claim(reader, UID)
    assert change(reader, "COMPLETED") == 0xC304
    without = performed()
    del without.UnifiedProcedureStepPerformedProcedureSequence[0].PerformedStationNameCodeSequence
    assert put(reader, without) == 0
    assert change(reader, "COMPLETED") == 0xC304
    assert put(reader, performed()) == 0
    assert change(reader, "COMPLETED") == 0


def test_what_is_completed_stays_so(reader):
    claim(reader, UID)
    put(reader, performed())
    change(reader, "COMPLETED")
    assert change(reader, "COMPLETED") == 0xB306
    assert change(reader, "CANCELED") == 0xC300
    assert claim(reader, UID, THEIRS) == 0xC300
    assert put(reader, performed()) == 0xC300
    assert act(reader, 2, UID) == 0xC311


def discontinued():
    progress = Dataset()
    progress.ProcedureStepCancellationDateTime = "20260101120000"
    progress.ProcedureStepDiscontinuationReasonCodeSequence = [coded("110513", "DCM", "Discontinued")]
    given = Dataset()
    given.ProcedureStepProgressInformationSequence = [progress]
    return given


def test_the_claimer_gives_up_with_its_reason(reader):
    claim(reader, UID)
    assert change(reader, "CANCELED") == 0xC304
    assert put(reader, discontinued()) == 0
    assert change(reader, "CANCELED") == 0
    assert change(reader, "CANCELED") == 0xB304
    assert act(reader, 2, UID) == 0xB304


def test_what_nobody_began_is_canceled_on_request(reader):
    assert act(reader, 2, UID, ReasonForCancellation="read elsewhere") == 0
    found = find(reader, keys(SOPInstanceUID=UID, ProcedureStepProgressInformationSequence=[]))[0][0]
    (progress,) = found.ProcedureStepProgressInformationSequence
    assert (found.ProcedureStepState, progress.ReasonForCancellation) == ("CANCELED", "read elsewhere")
    assert progress.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"


def test_a_wish_to_cancel_fails_where_nobody_hears_it(reader):
    claim(reader, UID)
    assert act(reader, 2, UID) == 0xC312
    assert state(reader) == "IN PROGRESS"


def test_no_peer_changes_a_studys_priority_or_patient(reader):
    given = Dataset()
    given.ScheduledProcedureStepPriority, given.PatientID = "LOW", "OTHER"
    given.CommentsOnTheScheduledProcedureStep = "see the old films"
    assert put(reader, given, transaction=None) == 0xB305
    found = find(reader, keys(SOPInstanceUID=UID, CommentsOnTheScheduledProcedureStep=""))[0][0]
    assert (found.ScheduledProcedureStepPriority, found.PatientID) == ("LOW", "P1")
    assert found.CommentsOnTheScheduledProcedureStep == "see the old films"


def test_a_raise_shows_while_somebody_reads(story, reader):
    claim(reader, UID)
    story.receive(STUDY, requested_priority=Priority.STAT)
    assert (state(reader), seen(reader).ScheduledProcedureStepPriority) == ("IN PROGRESS", "HIGH")


def test_images_that_come_after_the_reading_are_another_workitem(running, story, reader):
    story.complete()
    story.claim()
    story.decide()
    claim(reader, UID)
    put(reader, performed())
    assert change(reader, "COMPLETED") == 0
    running.tell()
    assert len(find(reader, keys(StudyInstanceUID=STUDY))[0]) == 1
    story.receive(STUDY)
    running.tell()
    found, _ = find(reader, keys(StudyInstanceUID=STUDY))
    assert {one.SOPInstanceUID: one.ProcedureStepState for one in found} == {
        UID: "COMPLETED",
        workitem_uid(STUDY, 2): "SCHEDULED",
    }


@pytest.mark.parametrize(
    ("action", "values"),
    [
        (1, {"ProcedureStepState": "IN PROGRESS", "TransactionUID": MINE}),
        (2, {}),
    ],
)
def test_who_may_only_query_changes_nothing(running, reader, action, values):
    with calling(running.port, "PACS") as association:
        assert act(association, action, UID, **values) == 0x0124
        status, _ = association.send_n_set(performed(), PUSH, UID, meta_uid=PULL)
        assert status.Status == 0x0124
    assert state(reader) == "SCHEDULED"


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("action", "values", "status"),
    [
        (1, {"ProcedureStepState": "SOMEHOW", "TransactionUID": MINE}, 0x0115),
        (1, {"TransactionUID": MINE}, 0x0115),
        (9, {"TransactionUID": MINE}, 0x0123),
    ],
)
def test_a_senseless_action_is_refused(reader, action, values, status):
    assert act(reader, action, UID, **values) == status


def test_an_unknown_workitem_is_named_as_such(reader):
    assert claim(reader, "1.2.3.4") == 0xC307
    assert put(reader, performed(), uid="1.2.3.4") == 0xC307
    assert act(reader, 2, "1.2.3.4") == 0xC307


def posted(**values):
    """A workitem as a PACS posts it."""
    given = Dataset()
    given.ScheduledProcedureStepPriority, given.ProcedureStepState = "HIGH", "SCHEDULED"
    given.ProcedureStepLabel, given.WorklistLabel = "Read the hip", "ORTHO"
    given.ScheduledProcedureStepStartDateTime, given.InputReadinessState = "20260101120000", "READY"
    given.PatientName, given.PatientID = "Roe^Richard", "P9"
    given.ScheduledWorkitemCodeSequence = [coded("110005", "DCM", "Interpretation")]
    for name, value in values.items():
        setattr(given, name, value)
    return given


def post(reader, given, uid="2.25.500"):
    status, _ = reader.send_n_create(given, PUSH, uid)
    return status.Status


def test_a_posted_workitem_is_kept_found_first_by_its_priority_and_claimed(reader):
    assert post(reader, posted()) == 0
    found, _ = find(reader, keys(PatientName="Roe*"))
    assert [(one.SOPInstanceUID, one.ScheduledProcedureStepPriority) for one in found] == [("2.25.500", "HIGH")]
    assert [one.SOPInstanceUID for one in find(reader, keys())[0]] == ["2.25.500", UID]
    assert claim(reader, "2.25.500") == 0


def test_a_posted_workitem_without_a_uid_is_given_one(reader):
    assert post(reader, posted(), None) == 0
    (found,), _ = find(reader, keys(PatientName="Roe*"))
    assert is_uid(found.SOPInstanceUID)


def test_the_same_workitem_is_not_posted_twice(reader):
    assert [post(reader, posted()) for _ in range(2)] == [0, 0x0111]
    assert post(reader, posted(), UID) == 0x0111


def without(keyword):
    given = posted()
    delattr(given, keyword)
    return given


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (posted(ProcedureStepState="IN PROGRESS"), 0xC309),
        (posted(ScheduledProcedureStepPriority="ROUTINE"), 0x0115),
        (without("ProcedureStepLabel"), 0x0120),
        (without("ScheduledProcedureStepPriority"), 0x0120),
        (posted(TextValue="x" * 70_000), 0x0213),
    ],
)
def test_what_cannot_be_posted_is_refused(reader, given, status):
    assert post(reader, given) == status
    assert len(find(reader, keys())[0]) == 1


def test_who_may_only_query_cannot_post(running, story):
    with calling(running.port, "PACS", (PULL, WATCH)) as association:
        status, _ = association.send_n_create(posted(), PUSH, "2.25.500", meta_uid=PULL)
        assert status.Status == 0x0124
