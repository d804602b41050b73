"""`worklist`, `study`, `retry`."""

import json
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from support.story import STUDY, failed, scored, shipment

from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import Event, Finding, Priority, Status


def test_an_empty_list_is_an_empty_list(run, story):
    assert json.loads(run("worklist", "--json").out) == []
    assert run("worklist").code == 0


def test_the_list_has_every_field_of_the_interface_in_its_order(run, story):
    story.receive(patient_name="Doe^Jane", patient_id="P1")
    (item,) = json.loads(run("worklist", "--json").out)
    assert list(item) == [field.name for field in fields(WorklistItem)]
    assert (item["patient_name"], item["status"], item["decided_at"]) == ("Doe^Jane", "receiving", None)


def test_the_best_comes_first_and_the_limit_cuts_from_the_end(run, story):
    story.receive("1.2.2")
    story.receive("1.2.3", requested_priority=Priority.STAT)
    items = json.loads(run("worklist", "--json", "--limit", 1).out)
    assert [item["study_instance_uid"] for item in items] == ["1.2.3"]


def test_the_list_can_be_narrowed(run, story):
    story.receive("1.2.2")
    story.receive("1.2.3", requested_priority=Priority.STAT)
    for options in (["--priority", "routine"], ["--status", "receiving", "--priority", "routine"]):
        items = json.loads(run("worklist", "--json", *options).out)
        assert [item["study_instance_uid"] for item in items] == ["1.2.2"]
    assert json.loads(run("worklist", "--json", "--status", "ready").out) == []


def test_a_priority_is_shown_by_word_and_shape_and_not_by_colour_alone(run, story):
    story.receive("1.2.2", requested_priority=Priority.STAT)
    story.receive("1.2.3", requested_priority=Priority.URGENT)
    story.receive("1.2.4")
    shown = run("worklist").out
    assert "▲▲ STAT" in shown
    assert "▲ URGENT" in shown
    assert "· ROUTINE" in shown


def test_a_name_that_looks_like_markup_is_shown_as_it_is(run, story):
    story.receive(patient_name="[red]Doe[/nothing]")
    assert "[red]Doe[/nothing]" in run("worklist").out


def test_a_reason_stands_beside_the_status(run, story):
    story.claimed()
    story.decide(event=Event.FAILED, finding=Finding.NOT_ASSESSED, status_reason="the image is blank")
    assert "needs human: the image is blank" in " ".join(run("worklist").out.split())


def test_a_study_is_told_with_its_instances_deliveries_and_trail(run, story):
    story.claimed()
    story.decide(shipment(), assessments=[scored("1.2.1.1", 0.75)])
    detail = json.loads(run("study", STUDY, "--json").out)
    assert detail["item"]["finding"] == "abnormal"
    assert detail["instances"][0]["assessment"]["probability"] == 0.75
    assert detail["deliveries"][0]["state"] == "pending"
    shown = run("study", STUDY).out
    for word in ("0.7500", "pacs", "pending", "decision_made", "the mean of 2 images is 0.80"):
        assert word in shown


@pytest.mark.parametrize("command", ["study", "retry"])
def test_a_study_that_is_not_there_is_a_failure(run, story, command):
    done = run(command, "1.2.9")
    assert done.code == 1
    assert done.err == "triage-agent: no study 1.2.9 on the worklist; `triage-agent worklist` lists what is there\n"


@pytest.mark.parametrize("arguments", [[], [STUDY, "--failed"]])
def test_retry_wants_one_study_or_all_that_failed(run, story, arguments):
    assert run("retry", *arguments).code == 2


def test_retry_puts_a_study_that_needs_a_human_back_to_work(run, story):
    story.claimed()
    story.decide(event=Event.FAILED, finding=Finding.NOT_ASSESSED, assessments=[failed("1.2.1.1")])
    assert json.loads(run("retry", STUDY, "--json").out) == {"put_back": 1}
    assert (story.status(), story.item().revision) == (Status.READY, 2)


def test_retry_of_all_that_failed_puts_dead_deliveries_back(run, story):
    for study in ("1.2.2", "1.2.3"):
        story.decided(shipment(f"2.25.{study[-1]}"), study=study)
    story.lose()
    done = run("retry", "--failed")
    assert done.out == "2 put back to work\n"
    story.now = datetime.now(UTC)  # the command's clock is the machine's
    assert len(story.send()) == 2


def test_retry_of_a_study_that_is_well_changes_nothing(run, story):
    story.receive()
    assert json.loads(run("retry", STUDY, "--json").out) == {"put_back": 0}
    assert story.status() is Status.RECEIVING
