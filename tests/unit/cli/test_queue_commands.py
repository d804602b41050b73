"""`worklist`, `study`, `retry`."""

import json
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from support.story import STUDY, failed, scored, shipment

from triage_agent.cli import options, tables
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import Event, Finding, Priority, Status

ENDINGS = [
    (Event.DECIDED, Finding.ABNORMAL, 0.81),
    (Event.DECIDED, Finding.UNCERTAIN, 0.34),
    (Event.EXCLUDED, Finding.NOT_ASSESSED, None),
    (Event.FAILED, Finding.NOT_ASSESSED, None),
]


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
    for narrowed in (["--priority", "routine"], ["--status", "receiving", "--priority", "routine"]):
        items = json.loads(run("worklist", "--json", *narrowed).out)
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


@pytest.mark.parametrize("width", [80, 110, 150])
def test_priority_probability_age_and_status_can_be_read_on_every_screen(run, story, monkeypatch, width):
    monkeypatch.setattr(options.stdout, "_width", width)
    who = {"patient_name": "Featherstonehaugh^Wilhelmina", "accession_number": "ACC1234567890123"}
    for number, (priority, ending) in enumerate(product(Priority, ENDINGS)):
        story.claimed(f"1.2.{number}", requested_priority=priority, **who)
        event, finding, probability = ending
        reason = "" if event is Event.DECIDED else "the image is blank and so is the other"
        story.decide(
            study=f"1.2.{number}",
            event=event,
            finding=finding,
            probability=probability,
            status_reason=reason,
            anatomy="XR_SHOULDER",
            priority=Priority.ROUTINE,
        )
    story.receive("1.2.99", **who)
    shown = run("worklist").out
    assert max(len(line) for line in shown.splitlines()) <= width
    assert ("…" in shown) is (width < 150)  # of reasons two lines; nothing else is cut
    assert "ACC1234567890123" in shown
    for word in ("▲▲ STAT", "▲ URGENT", "· ROUTINE"):
        assert shown.count(word) >= len(ENDINGS)
    for word in ("0.81", "0.34", "uncertain", "out of scope:", "needs human:"):
        assert shown.count(word) == len(Priority)
    assert shown.count("shoulder") == len(Priority) * len(ENDINGS)
    assert shown.count("decided") == 2 * len(Priority)
    assert "receiving" in shown
    assert ("Images" in shown) is (width >= 110)
    assert len(re.findall(r" \d+d ", shown)) == len(Priority) * len(ENDINGS) + 1


@pytest.mark.parametrize(("width", "lines", "cut"), [(80, 2, True), (120, 4, True), (150, 4, True), (350, 3, False)])
def test_a_long_reason_does_not_push_the_list_off_the_screen(run, story, monkeypatch, width, lines, cut):
    monkeypatch.setattr(options.stdout, "_width", width)
    story.claimed("1.2.3", accession_number="ACC1")
    reason = "the image is unlike the training images, " * 4 + "so a human reads it"
    story.decide(
        study="1.2.3", event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None, status_reason=reason
    )
    shown = run("worklist").out
    assert ("…" in shown) is cut
    assert len(shown.splitlines()) <= lines + 2


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0:00"), (61, "1:01"), (3599, "59:59"), (3600, "1h00"), (172740, "47h59"), (172800, "2d")],
)
def test_an_age_stays_short(seconds, shown):
    assert tables._age(seconds) == shown


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


def test_a_study_says_that_its_originals_are_deleted(run, story):
    story.decided(shipment())
    story.send()
    story.now += timedelta(days=31)
    story.worklist.forget_originals(STUDY, story.now, story.now)
    assert "Originals of 1 of 1 images deleted on 2026-04-01, after 31 days" in run("study", STUDY).out
    (instance,) = json.loads(run("study", STUDY, "--json").out)["instances"]
    assert instance["original_deleted_at"] == story.now.isoformat()


@pytest.mark.parametrize("command", ["study", "retry"])
def test_a_study_that_is_not_there_is_a_failure(run, story, command):
    done = run(command, "1.2.9")
    assert done.code == 1
    assert done.err == (
        "triage-agent: no study 1.2.9 on the worklist, neither as Study Instance UID nor as accession number; "
        "`triage-agent worklist` shows accession numbers, `triage-agent worklist --json` also the UIDs\n"
    )


def test_a_study_can_be_named_by_its_accession_number(run, story):
    story.claimed(accession_number="A1")
    story.decide(event=Event.FAILED, finding=Finding.NOT_ASSESSED, assessments=[failed("1.2.1.1")])
    assert json.loads(run("study", "A1", "--json").out)["item"]["study_instance_uid"] == STUDY
    assert STUDY in run("study", "A1").out
    assert json.loads(run("retry", "A1", "--json").out) == {"put_back": 1}


@pytest.mark.parametrize("command", ["study", "retry"])
def test_an_accession_number_of_several_studies_is_answered_with_their_uids(run, story, command):
    story.receive("1.2.2", accession_number="A1")
    story.receive("1.2.3", accession_number="A1")
    done = run(command, "A1")
    assert done.code == 1
    assert done.err == "triage-agent: 2 studies have the accession number A1; name one by its UID: 1.2.2, 1.2.3\n"


def test_a_waiting_delivery_says_what_it_met_and_when_it_is_tried_next(run, story, monkeypatch):
    monkeypatch.setattr(options.stdout, "_width", 80)
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    (delivery,) = story.deliveries(destinations=["pacs"])
    again = datetime(2100, 1, 2, 3, 4, 5, tzinfo=UTC)
    story.worklist.delivery_failed(delivery, "pacs cannot be reached; start it", again, story.tick())
    shown = " ".join(run("study", STUDY).out.split())
    assert "pacs cannot be reached; start it; next attempt 2100-01-02 03:04:05 UTC" in shown
    assert "due since" in shown


def test_a_delivery_that_nobody_tried_says_what_the_destination_did_to_the_one_before_it(run, story):
    for number in (1, 2):
        story.decided(shipment(f"2.25.{number}", "pacs"), study=f"1.2.{number}")
    (delivery,) = story.deliveries(limit=1)
    story.worklist.delivery_failed(delivery, "pacs cannot be reached", story.now, story.tick())
    shown = " ".join(run("study", "1.2.2").out.split())
    assert "not tried yet, since one before it failed: pacs cannot be reached; due since 2026-03-01" in shown


def test_the_trail_shows_each_day_once_and_the_seconds_of_every_event(run, story, monkeypatch):
    monkeypatch.setattr(options.stdout, "_width", 80)
    story.decided(shipment("2.25.1", "pacs"))
    shown = run("study", STUDY).out
    events = story.worklist.study(STUDY).audit
    trail = shown[shown.index("Audit trail") :]
    assert "…" not in trail
    assert re.findall(r"^\S+:\d\d:\d\d", trail, re.MULTILINE) == [event.at.strftime("%H:%M:%S") for event in events]
    assert trail.count("2026-03-01") == 1


def test_the_list_shows_the_uid_where_there_is_no_accession_number(run, story):
    story.receive("1.2.2", accession_number="A1")
    story.receive("1.2.3")
    shown = run("worklist").out
    assert "1.2.3" in shown
    assert "1.2.2" not in shown


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
