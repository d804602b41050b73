"""Notices from the settings to a real mail server: over a restart, an outage, and a server that is away."""

import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from support.http_peer import Said, http_peer
from support.mail_server import mail_server
from support.migrated import migrated
from support.story import Story, decision

from triage_agent.bootstrap import utc_now
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import AuditAction, Event, Finding, Priority
from triage_agent.notification import add_notifiers
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings
from triage_agent.worker import Loops
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.notice_queue import queue_notices
from triage_agent.worklist.notices import notices_of

_PATIENCE = 30.0


def eventually(look):
    deadline = time.monotonic() + _PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return seen


@pytest.fixture
def story(tmp_path):
    url = migrated(tmp_path / "triage.db")
    engine = open_engine(url)
    told = Story(SqlWorklist(engine))
    told.now = utc_now() - timedelta(minutes=5)
    yield told
    engine.dispose()


def settings(tmp_path, *, port=1, hook=None, **changes):
    mail = {
        "name": "mail",
        "on": ["stat", "needs_human"],
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "from": "triage@hospital.example",
        "to": ["admin@hospital.example"],
        "timeout_seconds": 5,
        **changes,
    }
    notify = {"email": [mail]}
    if hook is not None:
        included = {"include": changes["include"]} if "include" in changes else {}
        notify["webhook"] = [{"name": "chat", "on": ["stat"], "url": f"http://127.0.0.1:{hook}/", **included}]
    delivery = {"first_retry_seconds": 0.05, "longest_retry_seconds": 0.2}
    return build_settings({"data_dir": str(tmp_path), "notify": notify, "delivery": delivery}, "test")


@contextmanager
def running(story, site):
    """The loops of a worker's process that tell people."""
    loops, metrics = Loops(5.0), Metrics()
    with ExitStack() as ends:
        add_notifiers(site, story.worklist, metrics, utc_now, loops, ends)
        loops.start()
        try:
            yield metrics
        finally:
            loops.stop()
            assert loops.join() == []


def stat(story, study):
    story.claimed(study, accession_number=f"A{study}", patient_name="Doe^Jane", patient_id="P77")
    assert story.worklist.decide(decision(study=study, at=story.tick(), priority=Priority.STAT), (), (), "w1")


def flags(story, count):
    """What is recorded where so many studies are raised to STAT by their images."""
    told = {"to": Priority.STAT.value, "revision": 1}
    for number in range(count):
        yield AuditEvent(
            at=story.tick(),
            action=AuditAction.PRIORITY_RAISED,
            actor="agent",
            study_instance_uid=f"1.3.{number}",
            detail=told,
        )


def test_a_stat_finding_reaches_people_and_says_nothing_of_who_it_is(story, tmp_path):
    with (
        mail_server() as server,
        http_peer(Said(200)) as chat,
        running(story, settings(tmp_path, port=server.port, hook=chat.port)),
    ):
        stat(story, "1.2.1")
        eventually(lambda: server.messages and chat.asked)
        sent = server.messages[0][1].as_string() + chat.asked[0].body.decode()
    assert "STAT" in sent
    assert "machine-made" in sent
    assert all(word not in sent for word in ("Doe", "Jane", "P77", "A1.2.1", "1.2.1"))


def test_what_comes_up_while_nobody_runs_is_told_at_the_next_start_and_nothing_twice(story, tmp_path):
    with mail_server() as server:
        site = settings(tmp_path, port=server.port, include=["study_uid"])
        with running(story, site):
            stat(story, "1.2.1")
            eventually(lambda: len(server.messages) == 1)
        stat(story, "1.2.2")  # by a listener and a worker that are other processes
        with running(story, site):
            eventually(lambda: len(server.messages) == 2)
        with running(story, site):
            stat(story, "1.2.3")
            eventually(lambda: len(server.messages) == 3)
        texts = [message.get_content() for _, message in server.messages]
        identities = {message["Message-ID"] for _, message in server.messages}
    assert [f"1.2.{number}" in text for number, text in enumerate(texts, start=1)] == [True] * 3
    assert len(identities) == 3


def test_a_mail_server_that_is_away_and_then_grey_lists_gets_each_message_once(story, tmp_path):
    with mail_server(answers=["451 later", "451 later"]) as server:
        with running(story, settings(tmp_path, port=1)) as metrics:  # nobody listens there
            stat(story, "1.2.1")
            retries = metrics.notices.labels("mail", "retry")._value
            eventually(lambda: retries.get() > 0)
        with running(story, settings(tmp_path, port=server.port)):
            stat(story, "1.2.2")
            eventually(lambda: len(server.messages) == 2)
        assert notices_of(story.worklist).records()[0].waiting == 0


def test_a_channel_that_hangs_holds_up_no_other(story, tmp_path):
    with (
        mail_server() as server,
        http_peer(lambda _asked: time.sleep(3)) as chat,
        running(story, settings(tmp_path, port=server.port, hook=chat.port)),
    ):
        stat(story, "1.2.1")
        eventually(lambda: chat.asked)
        stat(story, "1.2.2")
        eventually(lambda: len(server.messages) == 2)


def test_a_flood_is_summed_up(story, tmp_path):
    with mail_server() as server:
        for number in range(1, 31):
            stat(story, f"1.2.{number}")  # before the channel was there: not told
        with running(story, settings(tmp_path, port=server.port, most_per_hour=2)):
            pass
        for number in range(31, 61):
            story.claimed(f"1.2.{number}")
            unread = decision(
                study=f"1.2.{number}",
                at=story.tick(),
                event=Event.FAILED,
                finding=Finding.NOT_ASSESSED,
                probability=None,
                priority=Priority.ROUTINE,
            )
            assert story.worklist.decide(unread, (), (), "w1")
        with running(story, settings(tmp_path, port=server.port, most_per_hour=2)):
            eventually(lambda: notices_of(story.worklist).records()[0].waiting == 0)
        subjects = [message["Subject"] for _, message in server.messages]
    assert [subject.split("] ")[1] for subject in subjects] == ["30 notices (30 needs a human)"]


def test_what_a_webhook_never_takes_holds_up_nothing_behind_it(story, tmp_path):
    refused = "1.2.1"

    def answer(asked):
        return Said(500 if refused in asked.body.decode() else 200)

    with http_peer(answer) as chat:
        site = settings(tmp_path, hook=chat.port, include=["study_uid"])
        with running(story, site):
            stat(story, refused)
            eventually(lambda: chat.asked)
            for number in range(2, 5):
                stat(story, f"1.2.{number}")
            eventually(lambda: {f"1.2.{number}" in str(chat.asked) for number in range(2, 5)} == {True})
        (waits,) = [record for record in notices_of(story.worklist).records() if record.channel == "chat"]
    assert (waits.sent, waits.waiting, waits.dead) == (3, 1, 0)


def test_hundreds_of_stat_findings_at_once_are_one_message_and_the_next_is_told_at_once(story, tmp_path):
    with mail_server() as server:
        site = settings(tmp_path, port=server.port, most_per_hour=1)
        with running(story, site):
            pass
        story.worklist.database.write(lambda session: [queue_notices(session, one) for one in flags(story, 300)])
        with running(story, site):
            eventually(lambda: len(server.messages) == 1)
            stat(story, "1.2.300")  # beyond the hour's messages
            eventually(lambda: len(server.messages) == 2)
        first, second = (message["Subject"].split("] ")[1] for _, message in server.messages)
        size = len(server.messages[0][1].as_string())
    assert first == "300 notices (50 STAT, and 250 more)"
    assert second == "A study was found to be read as STAT"
    assert size < 20_000


def test_without_channels_nothing_is_queued(story, tmp_path):
    site = build_settings({"data_dir": str(tmp_path)}, "test")
    with running(story, site):
        stat(story, "1.2.1")
    assert notices_of(story.worklist).records() == []
