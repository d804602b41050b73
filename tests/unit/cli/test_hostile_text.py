"""What a header, a peer or a file name says is shown and never obeyed."""

import json
from datetime import timedelta

import pytest
from support.story import STUDY, T0, failed, shipment

from triage_agent.cli.options import print_json, tell
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.visible import UNSAFE
from triage_agent.domain.vocabulary import AuditAction

HOSTILE = "\x1b[2J\x9b31m[bold red]A[/]\r\u202eSTAT\u2028"


def obeyed(text):
    """What of it a terminal would act upon; its own line ends and colours aside."""
    return [hex(ord(found)) for found in UNSAFE.findall(text) if found != "\n"]


def test_a_hostile_study_is_listed_and_shown_as_it_is_written(run, story):
    story.receive(patient_name=HOSTILE, accession_number=HOSTILE)
    story.worklist.record_audit(
        AuditEvent(
            at=T0 + timedelta(seconds=1),
            action=AuditAction.INSTANCE_QUARANTINED,
            actor=HOSTILE,
            study_instance_uid=STUDY,
            detail={"comment": HOSTILE + "\nforged"},
        )
    )
    for command in (["worklist"], ["study", STUDY], ["worklist", "--json"], ["study", STUDY, "--json"]):
        said = run(*command)
        assert said.code == 0
        assert obeyed(said.out) == []
        assert "[/]" in said.out, "taken for markup"
    (item,) = json.loads(run("worklist", "--json").out)
    assert item["patient_name"] == HOSTILE  # as data it is whole


def test_a_reason_and_a_receivers_error_cannot_forge_a_line(run, story):
    story.decided(shipment(), assessments=[failed("1.2.1.1")], reasons=(f"{HOSTILE}\n  - a forged reason",))
    story.lose(f"{HOSTILE}\nforged")
    said = run("study", STUDY).out
    assert obeyed(said) == []
    assert not any(line.strip() in {"- a forged reason", "forged"} for line in said.splitlines())


def test_an_unknown_study_with_a_hostile_name_is_one_line(run, story):
    said = run("study", f"1.2\nforged {HOSTILE}")
    assert said.code == 1
    assert obeyed(said.err) == []
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("text", [HOSTILE, "a\nb", "\ud800", 'x", "priority": "stat'])
def test_json_carries_hostile_text_whole_and_unarmed(capsys, text):
    print_json({text: [text]})
    said = capsys.readouterr().out
    assert json.loads(said) == {text: [text]}
    assert obeyed(said) == []


def test_a_remark_about_a_hostile_file_name_is_one_line(capsys):
    tell(f"{HOSTILE}\nforged: all is well")
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "\x1b[2J" not in said
