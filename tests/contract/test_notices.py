"""Notices on both databases: queued with their cause, once a channel, so many an hour, none lost and none doubled."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import inspect, text
from support.story import LEASE, STUDY, Story, decision, flag, shipment

from triage_agent.domain.notice import HOUR, ChannelRules, NoticeKind, Pace, QuietHours, pace
from triage_agent.domain.vocabulary import AuditAction, Event, Finding, Priority
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import SqlWorklist
from triage_agent.worklist.notice_rows import NoticeRow, RouteRow, WishRow
from triage_agent.worklist.notices import notices_of

EVERYTHING = frozenset({NoticeKind.STAT, NoticeKind.URGENT, NoticeKind.NEEDS_HUMAN, NoticeKind.ROUTE_FAILING})
MAIL = ChannelRules(name="mail", kinds=EVERYTHING)
ROOM = ChannelRules(name="room", kinds=frozenset({NoticeKind.STAT}))
MINUTE = timedelta(minutes=1)


@pytest.fixture
def story(engine):
    told = Story(SqlWorklist(engine))
    told.notices = notices_of(told.worklist)
    told.notices.configure([MAIL], ["pacs"], told.now)
    return told


def take(story, channel="mail", rules=MAIL, hushed=frozenset()):
    """Gather and claim the next message; None where there is none."""
    now = story.tick()
    if story.notices.due(channel, hushed, now) is None:
        waiting = story.notices.waiting(channel, hushed, now)
        how = pace(waiting, rules) if waiting else Pace.NONE
        if how is Pace.NONE or not story.notices.gather(channel, hushed, waiting, how, now):
            return None
    return story.notices.claim(channel, hushed, now, now + MINUTE)


def told(story, channel="mail", rules=MAIL, hushed=frozenset()):
    """Send what waits: the kinds in each message."""
    sent = []
    while message := take(story, channel, rules, hushed):
        story.notices.sent(message, story.tick())
        sent.append([notice.kind.value for notice in message.notices])
    return sent


def decided(story, study=STUDY, **changes):
    story.claimed(study)
    assert story.worklist.decide(decision(study=study, at=story.tick(), **changes), (), (), "w1")


def failed(story, study=STUDY):
    decided(
        story,
        study,
        event=Event.FAILED,
        finding=Finding.NOT_ASSESSED,
        probability=None,
        priority=Priority.ROUTINE,
        status_reason="blank",
    )


def many(story, count, start=1):
    for number in range(start, start + count):
        failed(story, f"1.2.{number}")


def test_the_tables_are_as_the_migration_made_them(engine):
    inspector = inspect(engine)
    for row in (WishRow, NoticeRow, RouteRow):
        table = row.__table__
        found = {one["name"]: one["nullable"] for one in inspector.get_columns(table.name)}
        assert found == {column.name: bool(column.nullable) for column in table.columns}
        assert {one["name"] for one in inspector.get_indexes(table.name)} >= {index.name for index in table.indexes}
    assert "ix_outbox_sent" in {one["name"] for one in inspector.get_indexes("outbox")}


def test_a_stat_finding_is_told_of_once_whether_by_flag_decision_or_later_revision(story):
    story.receive()
    story.worklist.raise_flag(flag(at=story.tick(), priority=Priority.STAT), (), story.now)
    assert told(story) == [["stat"]]
    story.complete()
    story.claim()
    story.worklist.decide(decision(at=story.tick(), priority=Priority.STAT), (), (), "w1")
    story.receive()
    story.complete()
    story.claim()
    story.worklist.decide(decision(at=story.tick(), revision=2, priority=Priority.STAT), (), (), "w1")
    assert told(story) == []


def test_a_study_that_needs_a_human_is_told_of_and_again_when_a_retry_fails(story):
    failed(story)
    assert told(story) == [["needs_human"]]
    story.worklist.retry_study(STUDY, "cli", story.tick())
    story.claim()
    again = {"finding": Finding.NOT_ASSESSED, "probability": None, "priority": Priority.ROUTINE}
    story.worklist.decide(decision(at=story.tick(), revision=2, event=Event.FAILED, **again), (), (), "w1")
    assert told(story) == [["needs_human"]]


def test_an_order_that_is_stat_is_no_news(story):
    story.claimed(requested_priority=Priority.STAT)
    normal = decision(at=story.tick(), finding=Finding.NORMAL, probability=0.1, priority=Priority.STAT)
    story.worklist.decide(normal, (), (), "w1")
    assert told(story) == []


def test_what_a_transaction_takes_back_is_never_told(story, engine):
    story.claimed()
    with engine.begin() as connection:
        connection.execute(text("UPDATE studies SET revision = 7"))
    assert not story.worklist.decide(decision(at=story.tick(), priority=Priority.STAT), (), (), "w1")
    assert told(story) == []


def test_a_channel_is_told_only_of_what_it_wants_and_of_nothing_from_before(story):
    decided(story, priority=Priority.STAT)
    story.notices.configure([MAIL, ROOM], ["pacs"], story.tick())
    failed(story, "1.2.2")
    decided(story, "1.2.3", priority=Priority.STAT)
    assert told(story, "room", ROOM) == [["stat"]]
    assert told(story) == [["stat"], ["stat"], ["needs_human"]]


def test_what_waits_for_a_channel_that_is_taken_out_is_dead(story):
    failed(story)
    assert story.notices.configure([ROOM], [], story.tick()) == 1
    assert told(story) == []
    (mail, room) = story.notices.records()
    assert (mail.channel, mail.dead, mail.waiting, room.waiting) == ("mail", 1, 0, 0)
    failed(story, "1.2.2")
    assert story.notices.waiting("mail", (), story.now) is None


def test_a_message_is_held_by_one_and_is_the_same_at_the_next_attempt(story):
    failed(story)
    first = take(story)
    assert (take(story), first.attempt, first.count) == (None, 1, 1)
    failed(story, "1.2.2")
    story.notices.failed(first, "away", story.tick(), story.now)
    again = take(story)
    assert (again.uid, again.attempt, again.notices) == (first.uid, 2, first.notices)
    assert story.notices.records()[0].last_error == "away"
    story.notices.sent(again, story.tick())
    assert take(story).uid != first.uid


def test_a_message_whose_sender_was_killed_is_taken_up_by_the_same_name(story):
    failed(story)
    first = take(story)
    story.tick(2 * MINUTE)
    again = take(story)
    assert (again.uid, again.attempt) == (first.uid, 2)
    story.notices.failed(first, "late", None, story.tick())  # of an attempt that another has followed
    story.notices.sent(again, story.tick())
    assert (story.notices.records()[0].sent, story.notices.records()[0].dead) == (1, 0)


def test_one_that_is_refused_for_good_is_dead_and_the_next_one_goes(story):
    many(story, 2)
    story.notices.failed(take(story), "too large", None, story.tick())
    assert told(story) == [["needs_human"]]
    (record,) = story.notices.records()
    assert (record.sent, record.dead) == (1, 1)
    assert AuditAction.NOTICE_DEAD in story.actions("1.2.1")
    assert AuditAction.NOTICE_SENT in story.actions("1.2.2")


def test_beyond_so_many_messages_an_hour_the_last_one_sums_up_the_rest(story):
    rules = ChannelRules(name="mail", kinds=EVERYTHING, most_per_hour=3)
    many(story, 2)
    assert [len(kinds) for kinds in told(story, rules=rules)] == [1, 1]
    many(story, 4, start=3)
    assert [len(kinds) for kinds in told(story, rules=rules)] == [4]
    many(story, 2, start=7)
    assert told(story, rules=rules) == []
    story.tick(HOUR)
    assert [len(kinds) for kinds in told(story, rules=rules)] == [1, 1]


def test_more_at_once_than_the_hour_has_messages_are_one_message(story):
    rules = ChannelRules(name="mail", kinds=EVERYTHING, most_per_hour=3)
    many(story, 5)
    assert [len(kinds) for kinds in told(story, rules=rules)] == [5]


def test_a_stat_finding_goes_beyond_the_hours_messages_and_takes_all_else_along(story):
    rules = ChannelRules(name="mail", kinds=EVERYTHING, most_per_hour=1)
    many(story, 1)
    assert told(story, rules=rules) == [["needs_human"]]
    many(story, 1, start=2)
    assert told(story, rules=rules) == []
    decided(story, "1.2.9", priority=Priority.STAT)
    assert told(story, rules=rules) == [["stat", "needs_human"]]
    decided(story, "1.2.10", priority=Priority.STAT)
    assert told(story, rules=rules) == [["stat"]]


def test_stat_findings_come_first_among_messages_and_in_a_summary(story):
    many(story, 60)
    decided(story, "1.2.99", priority=Priority.STAT)
    assert [notice.kind.value for notice in take(story, rules=replace(MAIL, most_per_hour=99)).notices] == ["stat"]
    decided(story, "1.2.98", priority=Priority.STAT)
    summary = take(story, rules=replace(MAIL, most_per_hour=1))
    assert (summary.notices[0].kind, summary.count) == (NoticeKind.STAT, 61)


def begun(story):
    """Begin another message and fail it, though others are not taken yet; False where none may be begun."""
    now = story.tick()
    waiting = story.notices.waiting("mail", (), now)
    how = pace(waiting, MAIL)
    if how is Pace.NONE or not story.notices.gather("mail", (), waiting, how, now):
        return False
    message = story.notices.claim("mail", (), now, now + MINUTE)
    story.notices.failed(message, "500", now + MINUTE, now)
    return message


def test_a_message_that_fails_goes_behind_those_that_wait(story):
    many(story, 3)
    first = begun(story)
    second = begun(story)
    assert (first.count, second.count, first.uid != second.uid) == (1, 1, True)
    story.tick(2 * MINUTE)
    again = take(story)
    story.notices.failed(again, "500", story.now, story.now)
    assert (again.uid, take(story).uid) == (first.uid, second.uid)  # the one that was tried less


def test_so_many_messages_may_fail_beside_each_other_and_the_last_of_them_sums_up(story):
    many(story, 8)
    assert [begun(story).count for _ in range(5)] == [1, 1, 1, 1, 4]
    many(story, 3, start=9)
    assert not begun(story)
    story.tick(2 * MINUTE)
    story.notices.sent(take(story), story.tick())
    assert begun(story).count == 3


def test_a_summary_tells_of_some_and_counts_all(story):
    rules = ChannelRules(name="mail", kinds=EVERYTHING, most_per_hour=1)
    many(story, 55)
    message = take(story, rules=rules)
    assert (message.count, len(message.notices)) == (55, 50)
    story.notices.sent(message, story.tick())
    assert story.notices.records()[0].sent == 55


def test_two_that_gather_at_once_make_one_message(story):
    many(story, 3)
    waiting = story.notices.waiting("mail", (), story.now)
    made = []

    def gather():
        made.append(story.notices.gather("mail", (), waiting, Pace.ONE, story.now))

    threads = [threading.Thread(target=gather) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]


def test_in_quiet_hours_only_what_is_excepted_goes_and_the_rest_is_summed_up_after(story):
    night = QuietHours(time(22), time(7), ZoneInfo("Europe/Vienna"))
    rules = ChannelRules(name="mail", kinds=EVERYTHING, quiet=night, excepted=frozenset({NoticeKind.STAT}))
    story.now = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)  # 22:30 in Vienna
    many(story, 2)
    decided(story, "1.2.9", priority=Priority.STAT)
    hushed = rules.hushed(story.now)
    assert told(story, rules=rules, hushed=hushed) == [["stat"]]
    story.now = datetime(2026, 3, 2, 6, 0, 1, tzinfo=UTC)
    assert told(story, rules=rules, hushed=rules.hushed(story.now)) == [["needs_human", "needs_human"]]


def test_a_message_that_must_be_quiet_holds_up_none_that_may_be_told(story):
    failed(story)
    story.notices.failed(take(story), "away", story.tick(), story.now)
    decided(story, "1.2.9", priority=Priority.STAT)
    hushed = frozenset(NoticeKind) - {NoticeKind.STAT}
    assert told(story, hushed=hushed) == [["stat"]]
    assert told(story) == [["needs_human"]]


def test_a_clock_that_is_set_back_holds_no_notice_up(story):
    failed(story)
    story.notices.failed(take(story), "away", story.now + 5 * MINUTE, story.now)
    story.now -= 3 * HOUR
    assert story.worklist.bring_deadlines_near(story.now, LongestWaits()) >= 1
    assert take(story) is not None


class TestRoutes:
    @staticmethod
    def attempt(story, study, error=None, retry=True):
        """One attempt at sending what waits for a study."""
        (delivery,) = story.worklist.claim_deliveries("d1", story.tick(), LEASE, 1, ["pacs"])
        assert delivery.study_instance_uid == study
        if error is None:
            story.worklist.delivery_sent(delivery, story.tick())
        else:
            story.worklist.delivery_failed(delivery, error, story.now if retry else None, story.tick())
        return story.now

    @staticmethod
    def look(story):
        troubled = story.worklist.trouble_at("pacs") is not None
        since = story.notices.look_at_route("pacs", troubled=troubled, now=story.tick())
        if since is not None and story.now - since >= MAIL.after:
            story.notices.tell_failing("mail", "pacs", since, story.now)
        return since

    @pytest.fixture
    def sending(self, story):
        for study in (STUDY, "1.2.2"):
            story.claimed(study)
            sent = (shipment(uid=f"2.25.{study[-1]}"),)
            normal = decision(study=study, at=story.tick(), finding=Finding.NORMAL, priority=Priority.ROUTINE)
            assert story.worklist.decide(normal, (), sent, "w1")
        return story

    def test_one_that_fails_for_long_is_told_of_once_and_when_it_works_again(self, sending):
        since = self.attempt(sending, STUDY, "refused")
        assert self.look(sending) == since
        assert told(sending) == []
        sending.tick(MAIL.after)
        for _ in range(2):
            self.look(sending)
        message = take(sending)
        assert [notice.kind for notice in message.notices] == [NoticeKind.ROUTE_FAILING]
        assert message.notices[0].detail == {"destination": "pacs", "failing_since": since.isoformat()}
        sending.notices.sent(message, sending.tick())
        self.attempt(sending, STUDY)
        assert [record.destination for record in sending.notices.failing()] == ["pacs"]
        assert self.look(sending) is None
        assert told(sending) == [["route_works"]]
        assert (self.look(sending), told(sending)) == (None, [])

    def test_one_that_works_again_in_time_is_not_told_of(self, sending):
        self.attempt(sending, STUDY, "refused")
        self.look(sending)
        self.attempt(sending, STUDY)
        sending.tick(MAIL.after)
        assert (self.look(sending), told(sending)) == (None, [])

    def test_one_that_refuses_everything_for_good_fails_too(self, sending):
        since = self.attempt(sending, STUDY, "not taken", retry=False)
        assert sending.worklist.trouble_at("pacs") is None
        sending.tick(MAIL.after)
        assert self.look(sending) == since
        assert told(sending) == [["route_failing"]]

    def test_what_is_not_sent_since_it_asks_for_too_little_is_no_failure_of_its_route(self, sending):
        (delivery,) = sending.worklist.claim_deliveries("d1", sending.tick(), LEASE, 1, ["pacs"])
        outdone = replace(delivery, is_outdone=True)
        sending.worklist.delivery_failed(outdone, "it asks for less", None, sending.tick())
        assert (self.look(sending), sending.notices.failing()) == (None, [])

    def test_what_was_not_even_tried_is_no_failure_of_its_route(self, sending):
        (delivery,) = sending.worklist.claim_deliveries("d1", sending.tick(), LEASE, 1, ["pacs"])
        sending.worklist.delivery_failed(delivery, "the site shows no regions", None, sending.tick(), tried=False)
        assert (self.look(sending), sending.notices.failing()) == (None, [])

    def test_what_no_route_leads_to_any_more_is_not_told_of(self, sending):
        self.attempt(sending, STUDY, "refused")
        sending.notices.configure([MAIL], ["ris"], sending.tick())
        assert sending.notices.failing() == []
        sending.worklist.bury_unrouted(["ris"], sending.tick())
        assert sending.notices.failing() == []

    def test_a_channel_that_does_not_want_to_know_is_not_told(self, sending):
        sending.notices.configure([ROOM], ["pacs"], sending.tick())
        since = self.attempt(sending, STUDY, "refused")
        self.look(sending)
        assert not sending.notices.tell_failing("room", "pacs", since, sending.now)
        assert sending.notices.waiting("room", (), sending.now) is None

    def test_a_clock_that_is_set_back_does_not_put_off_the_telling_for_ever(self, sending):
        self.attempt(sending, STUDY, "refused")
        sending.now -= 3 * HOUR
        assert self.look(sending) == sending.now
        sending.tick(MAIL.after)
        self.look(sending)
        assert told(sending) == [["route_failing"]]
