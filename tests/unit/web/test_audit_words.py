"""Every action has its sentence and its group, and nothing that a record holds gets out of its sentence."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.audit_asking import asked_of
from triage_agent.web.site.audit_story import chapters_of, milestones_of
from triage_agent.web.site.audit_words import GROUPS, SAYINGS, Group, actions_of, line_of


def record(action="study_viewed", **changes):
    values = {
        "id": 7,
        "at": "2026-03-01 08:00:00.000000",
        "actor": "dr.lee",
        "study_instance_uid": "1.2",
        "detail": "{}",
    }
    return AuditRecord(**{**values, "action": action, **changes})


@pytest.mark.parametrize("action", sorted(AuditAction))
def test_every_action_has_a_sentence_and_a_group(action):
    saying = SAYINGS[action.value]
    assert saying.group in GROUPS
    assert action in actions_of(saying.group)
    said = line_of(record(action.value)).says
    assert not said.startswith("dr.lee: ")
    assert "{" not in said


def test_no_group_is_called_as_an_action():
    assert not {group.value for group in Group} & {action.value for action in AuditAction}
    assert set(GROUPS) == set(Group)


@pytest.mark.parametrize(
    ("action", "detail", "says"),
    [
        ("reading_changed", '{"to": "claimed"}', "dr.lee claimed the study"),
        ("audit_read", '{"command": "verify", "intact": true}', "dr.lee verified the audit log: intact"),
        ("audit_read", '{"command": "verify", "begun": true}', "dr.lee began to verify the audit log"),
        ("audit_verified", '{"intact": false, "wrong": 3}', "NOT INTACT, 3 wrong"),
        ("audit_verified", '{"intact": true, "records": 5}', "intact, 5 records looked at"),
        ("audit_verified", '{"ended": false, "error": "x"}', "did not come to its end"),
        ("priority_raised", '{"from": "routine", "to": "stat", "rule": "a_b"}', "from routine to stat (rule a b)"),
        ("delivery_sent", '{"kind": "sr"}', "The agent sent sr to …"),
        ("shadow_compared", '{"agrees": false, "bundle": "b"}', "The shadow bundle b does not agree"),
        ("order_received", '{"x": "{actor.__class__}"}', "dr.lee sent an order"),
        ("of_tomorrow", "{}", "dr.lee: of tomorrow"),
    ],
)
def test_a_record_is_said_by_what_it_holds(action, detail, says):
    assert says in line_of(record(action, detail=detail)).says


def test_what_a_record_holds_is_data_and_no_part_of_the_sentence():
    line = line_of(
        record("access_refused", actor="{route}\x1b", detail='{"route": "{actor}", "' + "k" * 5000 + '": 1}')
    )
    assert line.says == "{route}\\x1b was refused {actor}"
    assert max(len(key) for key, _ in line.detail) <= 2000


@pytest.mark.parametrize(
    "changes", [{"detail": "[]"}, {"detail": "{" * 100_000}, {"detail": None}, {"at": 5}, {"at": "2026"}]
)
def test_what_the_agent_did_not_write_is_said_to_be_so(changes):
    line = line_of(record(**changes))
    assert line.foreign
    assert line.says == "This record is not as the agent wrote it"


@pytest.mark.parametrize(
    ("action", "actor", "who"),
    [
        ("decision_made", "vm:18091:e2e3b6e7/decide-1", "the agent, decide-1 (vm:18091:e2e3b6e7)"),
        ("agent_started", "vm:18091:e2e3b6e7", "the agent (vm:18091:e2e3b6e7)"),
        ("instance_received", "vm:18091:e2e3b6e7", "vm:18091:e2e3b6e7"),  # what a peer called itself
        ("decision_made", "w1", "w1"),
    ],
)
def test_a_process_of_ours_is_said_to_be_the_agent_and_nobody_elses_is(action, actor, who):
    line = line_of(record(action, actor=actor))
    assert (line.who, line.actor) == (who, actor)


def test_a_list_that_stays_open_is_no_second_look():
    said = [line_of(record("studies_listed", detail=detail)).says for detail in ('{"studies": 5}', '{"live": true}')]
    assert said == ["dr.lee saw the worklist", "dr.lee has the worklist open, which changes by itself"]


def test_only_a_uid_leads_to_a_study():
    assert line_of(record(study_instance_uid="../x")).study == ""
    assert line_of(record(study_instance_uid=None)).study == ""


def lines(*seconds_and_actions):
    begun = datetime(2026, 3, 1, 8, tzinfo=UTC)
    for seconds, action in seconds_and_actions:
        at = (begun + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")
        yield line_of(record(action, at=at))


def test_what_says_the_same_again_is_told_once():
    told = list(chapters_of(list(lines((0, "study_viewed"), (5, "study_viewed"), (65, "signed_in")))))
    assert [one.number for one in told] == [2, 1]
    assert [one.gap for one in told] == [None, timedelta(minutes=1)]
    assert told[1].since_first == timedelta(seconds=65)
    assert list(chapters_of([])) == []


def test_milestones_are_the_first_of_their_kind_in_their_order():
    found = milestones_of(
        list(lines((0, "order_received"), (5, "study_viewed"), (9, "decision_made"), (10, "study_viewed")))
    )
    assert [(one.name, one.since_first.seconds) for one in found] == [("First opened", 5), ("Decided", 9)]
    assert milestones_of([]) == []


def test_an_address_says_what_was_asked_and_nothing_else():
    asked = asked_of({"actor": "A B&c", "from": "2026-03-01T08:00", "zone": "Asia/Tokyo", "patient": "Åsa  X"})
    assert asked_of({"from": "2026-03-01"}).zone == "UTC"
    assert asked.question(None).since == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert "A+B%26c" in asked.address()
    assert "before" not in asked.address()
    assert "before=5" in asked.address(before=5)
    assert "patient" not in asked.said()
