"""What is told, and when, by tables."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from support.story import STUDY, T0, decision, flag

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.notice import (
    ChannelRules,
    NoticeKind,
    Pace,
    QuietHours,
    Waiting,
    message_uid,
    occasion_of,
    pace,
)
from triage_agent.domain.vocabulary import AuditAction, Event, Finding, Priority, Status
from triage_agent.worklist import trail

STAT = ("stat", f"stat:{STUDY}")


def moved(to):
    return trail.status_changed(
        STUDY, before=Status.SCORING, after=to, event=Event.FAILED, revision=2, actor="w1", at=T0
    )


def told(event):
    found = occasion_of(event)
    return None if found is None else (found.kind.value, found.key)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (trail.decision_made(decision(priority=Priority.STAT), "w1"), STAT),
        (trail.decision_made(decision(priority=Priority.STAT, finding=Finding.UNCERTAIN), "w1"), STAT),
        (trail.decision_made(decision(priority=Priority.STAT, finding=Finding.NORMAL), "w1"), None),
        (trail.decision_made(decision(priority=Priority.STAT, finding=Finding.NOT_ASSESSED), "w1"), None),
        (trail.decision_made(decision(priority=Priority.ROUTINE), "w1"), None),
        (trail.decision_made(decision(), "w1"), ("urgent", f"urgent:{STUDY}")),
        (trail.priority_flagged(flag(priority=Priority.STAT), Priority.ROUTINE, T0), STAT),
        (trail.priority_decided(decision(), Priority.ROUTINE, Priority.STAT, "w1"), STAT),
        (moved(Status.NEEDS_HUMAN), ("needs_human", f"needs_human:{STUDY}:2")),
        (moved(Status.OUT_OF_SCOPE), None),
        (AuditEvent(at=T0, action=AuditAction.AGENT_STARTED, actor="x", detail={"to": "needs_human"}), None),
        (
            AuditEvent(
                at=T0,
                action=AuditAction.PRIORITY_RAISED,
                actor="RIS",
                study_instance_uid=STUDY,
                detail={"from": "routine", "to": "stat", "rule": "order"},
            ),
            None,
        ),
    ],
)
def test_what_the_agent_finds_is_told_and_what_others_ask_for_is_not(event, expected):
    assert told(event) == expected


@pytest.mark.parametrize(
    ("span", "at", "covered"),
    [
        ((22, 7), (21, 59), False),
        ((22, 7), (22, 0), True),
        ((22, 7), (3, 0), True),
        ((22, 7), (7, 0), False),
        ((12, 14), (13, 59), True),
        ((12, 14), (14, 0), False),
        ((12, 14), (3, 0), False),
    ],
)
def test_quiet_hours_may_pass_midnight(span, at, covered):
    hours = QuietHours(time(span[0]), time(span[1]), ZoneInfo("UTC"))
    assert hours.covers(datetime(2026, 3, 1, *at, tzinfo=UTC)) is covered


def test_quiet_hours_are_by_the_site_s_clock_in_summer_and_winter():
    night = QuietHours(time(22), time(7), ZoneInfo("Europe/Vienna"))
    assert night.covers(datetime(2026, 1, 10, 21, 30, tzinfo=UTC))
    assert not night.covers(datetime(2026, 1, 10, 20, 30, tzinfo=UTC))
    assert night.covers(datetime(2026, 7, 10, 20, 30, tzinfo=UTC))


def test_that_a_route_works_again_is_heard_when_its_failing_is():
    night = QuietHours(time(22), time(7), ZoneInfo("UTC"))
    rules = ChannelRules(
        name="mail", kinds=frozenset(NoticeKind), quiet=night, excepted=frozenset({NoticeKind.ROUTE_FAILING})
    )
    hushed = rules.hushed(datetime(2026, 3, 1, 23, tzinfo=UTC))
    assert hushed.isdisjoint({NoticeKind.ROUTE_FAILING, NoticeKind.ROUTE_WORKS})
    assert NoticeKind.STAT in hushed
    assert rules.hushed(datetime(2026, 3, 1, 12, tzinfo=UTC)) == frozenset()


@pytest.mark.parametrize(
    ("sent", "count", "held", "expected"),
    [
        (0, 1, False, Pace.ONE),
        (0, 4, False, Pace.ONE),
        (0, 5, False, Pace.ALL),  # more than the hour has messages left
        (3, 9, False, Pace.ALL),
        (3, 1, False, Pace.ONE),
        (4, 9, False, Pace.NONE),
        (9, 1, False, Pace.NONE),
        (0, 2, True, Pace.ALL),
        (0, 1, True, Pace.ONE),
    ],
)
def test_too_many_for_the_hour_and_the_first_after_quiet_hours_are_summed_up(sent, count, held, expected):
    night = QuietHours(time(22), time(7), ZoneInfo("UTC"))
    rules = ChannelRules(name="mail", kinds=frozenset(NoticeKind), quiet=night, most_per_hour=4)
    since = datetime(2026, 3, 1, 23 if held else 12, tzinfo=UTC)
    assert pace(Waiting(sent=sent, count=count, kind=NoticeKind.URGENT, since=since), rules) is expected


@pytest.mark.parametrize(
    ("sent", "unsent", "count", "expected"),
    [
        (4, 0, 1, Pace.ONE),
        (400, 0, 1, Pace.ONE),
        (4, 0, 2, Pace.ALL),
        (0, 3, 2, Pace.ONE),
        (0, 4, 2, Pace.ALL),  # the last one that may fail beside others
        (0, 5, 2, Pace.NONE),
    ],
)
def test_a_stat_finding_waits_for_no_hour_but_for_a_channel_that_takes_nothing(sent, unsent, count, expected):
    rules = ChannelRules(name="mail", kinds=frozenset(NoticeKind), most_per_hour=4)
    waiting = Waiting(sent=sent, unsent=unsent, count=count, stat=True, kind=NoticeKind.URGENT, since=T0)
    assert pace(waiting, rules) is expected


def test_a_message_has_one_name_of_its_own():
    assert message_uid("mail", 1, T0) == message_uid("mail", 1, T0)
    assert len({message_uid("mail", 1, T0), message_uid("mail", 2, T0), message_uid("room", 1, T0)}) == 3
    assert message_uid("mail", 1, T0) != message_uid("mail", 1, T0 + timedelta(seconds=1))
