"""Work that peers post: claimed, fetched, completed with our reports or canceled with the reason."""

import zlib
from datetime import timedelta

import pytest
from support.story import STUDY, T0, Story, shipment

from triage_agent.domain.vocabulary import Event, Finding
from triage_agent.domain.workitem import StepState, Verdict, first_item, items_of, text_at
from triage_agent.intake.performing import Performer
from triage_agent.worklist import SqlWorklist, open_engine, upgrade
from triage_agent.worklist.workitems import workitems_of

TASK = "2.25.100"
OUTPUT = {"00081199": {"vr": "SQ", "Value": []}}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('performing') / 'triage.db'}"
    upgrade(url)
    return url


@pytest.fixture
def story(database, request):
    engine = open_engine(database)
    story = Story(SqlWorklist(engine))
    story.study, story.task = (
        f"{STUDY}.{zlib.crc32(request.node.name.encode())}",
        f"{TASK}.{zlib.crc32(request.node.name.encode())}",
    )
    story.workitems = workitems_of(story.worklist)
    yield story
    engine.dispose()


def element(vr, *values):
    return {"vr": vr, "Value": list(values)}


def post(story, *studies):
    given = {
        "00741200": element("CS", "HIGH"),
        "00404018": element("SQ", {"00080100": element("SH", "110004")}),
        "00404021": element("SQ", *({"0020000D": element("UI", study)} for study in studies)),
    }
    assert story.workitems.create(story.task, given, "PACS", story.tick()) is Verdict.DONE


def performer(story, source=None):
    return Performer(
        workitems=story.workitems,
        worklist=story.worklist,
        ae_title="TRIAGE",
        source_of=lambda _item: source,
        outputs_of=lambda _study: [OUTPUT],
        clock=lambda: story.now,
    )


def task(story):
    (found,) = story.workitems.workitems([story.task])
    return found


def delivered(story):
    story.receive(story.study)
    story.complete(story.study)
    story.claim()
    story.decide(study=story.study)


def test_a_study_that_is_here_and_done_completes_its_work(story):
    delivered(story)
    post(story, story.study)
    doing = performer(story)
    assert doing.step()
    assert (task(story).state, task(story).performer) == (StepState.IN_PROGRESS, "TRIAGE")
    assert doing.step()
    assert task(story).state is StepState.COMPLETED
    performed = first_item(task(story).attributes, "00741216")
    assert items_of(performed, "00404033") == [OUTPUT]
    assert text_at(first_item(performed, "00404019"), "00080100") == "110004"
    assert not doing.step()


def test_work_waits_for_the_study(story):
    post(story, story.study)
    story.receive(story.study)
    doing = performer(story)
    assert [doing.step() for _ in range(2)] == [True, False]
    story.complete(story.study)
    story.claim()
    assert not doing.step()
    story.decide(study=story.study)
    assert performer(story).step()  # in another process
    assert task(story).state is StepState.COMPLETED


def test_work_ends_only_when_the_report_is_delivered(story):
    story.claimed(story.study)
    story.decide(shipment(f"{story.study}.7", to="archive"), study=story.study)
    post(story, story.study)
    doing = performer(story)
    assert [doing.step() for _ in range(2)] == [True, False]
    assert story.send(destinations=["archive"]) == [f"{story.study}.7"]
    assert doing.step()
    assert task(story).state is StepState.COMPLETED


def test_a_study_is_fetched_once_before_it_is_judged(story):
    post(story, story.study)
    doing = performer(story, "archive")
    assert [doing.step() for _ in range(3)] == [True, False, False]
    record = story.worklist.retrieval_of(story.study)
    assert (record.peer, record.requested_by) == ("archive", "workitem of PACS")
    held = story.worklist.claim_retrieval("w1", story.tick(), timedelta(minutes=1), story.study)
    story.worklist.retrieval_ended(held, story.tick(), error="no such study", retry_at=None)
    assert doing.step()
    progress = first_item(task(story).attributes, "00741002")
    assert (task(story).state, text_at(progress, "00741238")) == (StepState.CANCELED, "no such study")


def test_a_study_that_needs_a_human_cancels_with_the_reason(story):
    post(story, story.study)
    story.claimed(story.study)
    story.decide(study=story.study, event=Event.FAILED, finding=Finding.NOT_ASSESSED, status_reason="cannot be decoded")
    doing = performer(story)
    assert [doing.step() for _ in range(2)] == [True, True]
    progress = first_item(task(story).attributes, "00741002")
    assert (task(story).state, text_at(progress, "00741238")) == (StepState.CANCELED, "cannot be decoded")


@pytest.mark.parametrize("studies", [(), ("not a UID",), tuple(f"1.2.3.{number}" for number in range(21))])
def test_work_on_nothing_or_on_too_much_is_canceled(story, studies):
    post(story, *studies)
    doing = performer(story)
    assert [doing.step() for _ in range(2)] == [True, True]
    assert task(story).state is StepState.CANCELED


def test_work_without_a_study_or_a_way_to_it_is_canceled(story):
    post(story, story.study)
    doing = performer(story)
    assert [doing.step() for _ in range(2)] == [True, True]
    assert "not here" in text_at(first_item(task(story).attributes, "00741002"), "00741238")


def test_what_another_has_claimed_or_is_for_people_is_left_alone(story):
    post(story, story.study)
    story.workitems.change_state(story.task, StepState.IN_PROGRESS, "2.25.1", "OTHER", story.now)
    assert not performer(story).step()
    story.workitems.create(f"{story.task}.1", {"00404018": element("SQ", {})}, "PACS", T0)
    assert not performer(story).step()
