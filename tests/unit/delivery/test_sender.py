import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
import structlog
from structlog.testing import LogCapture

from triage_agent.delivery import sender as module
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.delivery.sender import Sender, Sent
from triage_agent.domain.decision import Artifact, Delivery
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PATIENT = "Lind^Eva"


class Outbox:
    """The delivery part of the worklist's port, in memory; remembers the order of what was done."""

    def __init__(self, *rows):
        self.due = list(rows)
        self.done, self.committing, self.tried = [], [], []
        self.lock = threading.Lock()

    def claim_deliveries(self, owner, now, lease, limit, destinations=None):
        with self.lock:
            claimed = [row for row in self.due if row.destination in destinations][:limit]
            for row in claimed:
                self.due.remove(row)
                self.done.append(("claimed", row.delivery_id))
            return claimed

    def delivery_sent(self, delivery, now, commit):
        self.done.append(("sent", delivery.delivery_id))
        if commit:
            self.committing.append(delivery.delivery_id)

    def make_due(self, destination, now):
        self.done.append(("made due", destination))

    def delivery_failed(self, delivery, error, retry_at, now, *, tried=True):
        self.done.append(("failed", delivery.delivery_id, error, retry_at))
        self.tried.append(tried)


class Wire:
    """A transport that does what it is told to."""

    kinds = frozenset({ArtifactKind.SR})

    def __init__(self, outbox=None, *faults):
        self.outbox = outbox
        self.faults = list(faults)
        self.closed = False

    def send(self, artifact):
        if self.outbox is not None:
            self.outbox.done.append(("send", artifact.uid))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault

    def check(self):
        return "there"

    def close(self):
        self.closed = True


def row(number, destination="pacs", kind=ArtifactKind.SR, attempt=1):
    return Delivery(
        delivery_id=number,
        study_instance_uid=f"1.2.{number}",
        revision=1,
        destination=destination,
        attempt=attempt,
        artifact=Artifact(kind=kind, uid=f"2.25.{number}", body=PATIENT.encode(), summary=""),
    )


@pytest.fixture
def lines(monkeypatch):
    """What the module logs, whatever another test has configured."""
    capture = LogCapture()
    logger = structlog.wrap_logger(None, [capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(module, "log", logger)
    return capture.entries


def sender_of(outbox, observed=None, clock=lambda: NOW, commits=(), shows_regions=True, **transports):
    return Sender(
        worklist=outbox,
        transports=transports,
        clock=clock,
        rng=Random(1),
        owner="me",
        lease=timedelta(minutes=5),
        retry=RetryPolicy(),
        observed=observed,
        commits=commits,
        shows_regions=shows_regions,
    )


def test_everything_due_is_sent_in_order_and_marked_after_it_was_sent():
    outbox = Outbox(row(1), row(2))
    assert sender_of(outbox, pacs=Wire(outbox)).run_once("pacs") == 2
    assert outbox.done == [
        ("claimed", 1),
        ("send", "2.25.1"),
        ("sent", 1),
        ("claimed", 2),
        ("send", "2.25.2"),
        ("sent", 2),
    ]


def test_nothing_due_is_nothing_done():
    assert sender_of(Outbox(), pacs=Wire()).run_once() == 0


def test_a_failure_that_may_pass_is_tried_later_and_ends_the_run():
    outbox = Outbox(row(1), row(2))
    wire = Wire(None, DeliveryError("it is busy", permanent=False))
    assert sender_of(outbox, pacs=wire).run_once("pacs") == 0
    (_, (what, number, error, retry_at)) = outbox.done
    assert (what, number, error) == ("failed", 1, "it is busy")
    assert NOW <= retry_at <= NOW + timedelta(seconds=2)
    assert [left.delivery_id for left in outbox.due] == [2]


class Clocked:
    """A sender of one destination whose clock is moved by hand."""

    def __init__(self, wire, outbox):
        self.now = NOW
        self.wire, self.outbox = wire, outbox
        self.sender = sender_of(outbox, clock=lambda: self.now, pacs=wire)

    def run(self, after=0.0):
        """How often the destination was tried."""
        before = len([done for done in self.outbox.done if done[0] == "send"])
        self.now += timedelta(seconds=after)
        self.sender.run_once("pacs")
        return len([done for done in self.outbox.done if done[0] == "send"]) - before


AWAY = DeliveryError("no connection", permanent=False, away=True)


def test_a_destination_that_is_away_is_left_alone_for_longer_and_longer_whatever_else_becomes_due():
    outbox = Outbox(*(row(number) for number in range(1000)))
    clocked = Clocked(Wire(outbox, *[AWAY] * 1000), outbox)
    tries = [n / 4 for n in range(4 * 600) if clocked.run(0.25 if n else 0)]  # four looks a second, ten minutes long
    assert tries[:5] == [0, 2, 6, 14, 30]
    assert {later - earlier for earlier, later in pairwise(tries[5:])} == {30}


def test_a_destination_that_is_away_is_looked_for_also_when_the_clock_was_set_back():
    outbox = Outbox(*(row(number) for number in range(3)))
    clocked = Clocked(Wire(outbox, AWAY), outbox)
    assert clocked.run() == 1
    assert clocked.run(1) == 0
    assert clocked.run(-3600) == 2


def test_a_destination_that_is_back_gets_everything_at_once():
    outbox = Outbox(*(row(number) for number in range(10)))
    clocked = Clocked(Wire(outbox, AWAY, AWAY, None, None, None, None, AWAY), outbox)
    assert clocked.run() == 1
    assert clocked.run(2) == 1
    assert clocked.run(3.9) == 0
    assert clocked.run(0.1) == 5
    assert clocked.run(2) == 3  # it was away once in a row, not three times


def test_what_was_tried_in_vain_is_due_as_soon_as_the_destination_is_back():
    outbox = Outbox(*(row(number) for number in range(4)))
    clocked = Clocked(Wire(outbox, AWAY, AWAY, None, None), outbox)
    clocked.run()
    clocked.run(2)
    assert ("made due", "pacs") not in outbox.done
    clocked.run(4)
    assert [done for done in outbox.done[-5:] if done[0] in {"made due", "sent"}] == [
        ("made due", "pacs"),
        ("sent", 2),
        ("sent", 3),
    ]


def test_a_destination_that_says_no_is_there():
    outbox = Outbox(*(row(number) for number in range(3)))
    clocked = Clocked(Wire(outbox, *[DeliveryError("it is busy", permanent=False)] * 3), outbox)
    assert [clocked.run(), clocked.run(), clocked.run()] == [1, 1, 1]


def test_a_permanent_failure_is_dead_and_the_next_one_is_sent():
    outbox = Outbox(row(1), row(2))
    wire = Wire(None, DeliveryError("it is refused", permanent=True, remedy="look"))
    assert sender_of(outbox, pacs=wire).run_once("pacs") == 1
    assert outbox.done[1] == ("failed", 1, "it is refused; look", None)
    assert outbox.done[-1] == ("sent", 2)


def test_the_last_attempt_is_the_last():
    outbox = Outbox(row(1, attempt=RetryPolicy().max_attempts))
    sender_of(outbox, pacs=Wire(None, DeliveryError("away", permanent=False))).run_once()
    assert outbox.done[-1] == ("failed", 1, "away", None)


@pytest.mark.parametrize("error", [ValueError(PATIENT), KeyError(PATIENT), MemoryError(PATIENT)])
def test_an_unexpected_exception_is_a_failure_that_may_pass_and_only_its_type_is_kept(error, lines):
    outbox = Outbox(row(1))
    sender_of(outbox, pacs=Wire(None, error)).run_once()
    _, _, kept, retry_at = outbox.done[-1]
    assert kept == f"unexpected {type(error).__name__}"
    assert retry_at is not None
    assert PATIENT not in str(lines)


def test_a_kind_that_a_destination_cannot_take_is_dead_at_once():
    outbox = Outbox(row(1, kind=ArtifactKind.HL7_ORU))
    sender_of(outbox, pacs=Wire(outbox)).run_once()
    assert outbox.done == [
        ("claimed", 1),
        ("failed", 1, "pacs cannot be sent hl7-oru; correct the route", None),
    ]


@pytest.mark.parametrize("kind", [ArtifactKind.EVIDENCE_GSPS, ArtifactKind.EVIDENCE_SC])
def test_evidence_that_waits_is_not_sent_once_the_site_shows_no_regions(kind):
    outbox = Outbox(row(1, kind=kind), row(2))
    wire = Wire(outbox)
    wire.kinds = frozenset(ArtifactKind)
    sender_of(outbox, shows_regions=False, pacs=wire).run_once()
    unsent = "not sent: the site shows no regions; [results] evidence"
    assert outbox.done[:2] == [("claimed", 1), ("failed", 1, unsent, None)]
    assert outbox.done[2:] == [("claimed", 2), ("send", "2.25.2"), ("sent", 2)]


def test_a_slow_destination_does_not_block_another():
    outbox = Outbox(row(1, "slow"), row(2, "quick"))
    release, entered = threading.Event(), threading.Event()

    class Slow(Wire):
        def send(self, artifact):
            entered.set()
            release.wait(60)

    sender = sender_of(outbox, slow=Slow(), quick=Wire())
    thread = threading.Thread(target=sender.run_once, args=("slow",))
    thread.start()
    try:
        assert entered.wait(30)
        assert sender.run_once("quick") == 1
    finally:
        release.set()
        thread.join()
    assert ("sent", 1) in outbox.done


def test_a_dead_destination_does_not_block_another_in_the_same_thread():
    outbox = Outbox(row(1, "dead"), row(2, "alive"))
    sender = sender_of(outbox, dead=Wire(None, DeliveryError("away", permanent=False)), alive=Wire())
    assert sender.run_once() == 1
    assert ("sent", 2) in outbox.done


def test_a_run_is_bounded_so_that_it_can_be_stopped():
    outbox = Outbox(*(row(number) for number in range(100)))
    assert 0 < sender_of(outbox, pacs=Wire()).run_once() < 100


def test_each_attempt_is_one_line_with_its_facts_and_the_metrics_hear_of_it(lines):
    outbox, heard = Outbox(row(1), row(2, attempt=3)), []
    wire = Wire(None, None, DeliveryError("away", permanent=False))
    sender_of(outbox, observed=lambda one, outcome: heard.append((one.destination, outcome)), pacs=wire).run_once()
    facts = [{key: line[key] for key in line if key not in {"seconds", "log_level"}} for line in lines]
    common = {"event": "delivery", "kind": "sr", "destination": "pacs"}
    assert facts == [
        common | {"study_instance_uid": "1.2.1", "attempt": 1, "outcome": "sent"},
        common | {"study_instance_uid": "1.2.2", "attempt": 3, "outcome": "retry", "error": "away"},
    ]
    assert heard == [("pacs", Sent.SENT), ("pacs", Sent.RETRY)]


def test_closing_closes_every_transport():
    wires = {"one": Wire(), "two": Wire()}
    sender = sender_of(Outbox(), **wires)
    sender.close()
    assert all(wire.closed for wire in wires.values())
    assert sender.destinations == ("one", "two")


def test_who_is_to_commit_is_told_to_the_worklist_with_what_was_sent():
    outbox = Outbox(row(1), row(2, destination="other"))
    wires = {"pacs": Wire(), "other": Wire()}
    sender_of(outbox, commits=["pacs"], **wires).run_once()
    assert [number for what, number, *_ in outbox.done if what == "sent"] == [1, 2]
    assert outbox.committing == [1]


def test_what_would_lower_its_study_is_given_up_unsent():
    outbox, wire = Outbox(replace(row(1), is_outdone=True)), Wire()
    sender_of(outbox, pacs=wire).run_once()
    assert ("send", "2.25.1") not in outbox.done
    ((what, number, *said),) = [one for one in outbox.done if one[0] != "claimed"]
    assert (what, number) == ("failed", 1), said
    assert "asks for less" in str(said)
    assert outbox.tried == [False]


def test_nobody_is_asked_to_commit_to_a_workitem():
    outbox = Outbox(row(1, kind=ArtifactKind.UPS))
    wire = Wire()
    wire.kinds = frozenset({ArtifactKind.UPS})
    sender_of(outbox, commits=["pacs"], pacs=wire).run_once()
    assert [number for what, number, *_ in outbox.done if what == "sent"] == [1]
    assert outbox.committing == []


def test_a_destination_that_asks_to_be_left_alone_is_but_not_for_longer_than_anything_is():
    retry = RetryPolicy(first=timedelta(seconds=1), longest=timedelta(seconds=100))
    for wish, kept in ((60, 60), (5000, 100)):
        busy = DeliveryError("busy", permanent=False, away=True, retry_after=timedelta(seconds=wish))
        outbox = Outbox(row(1))
        clock = [NOW]
        sender = Sender(
            worklist=outbox,
            transports={"pacs": Wire(None, busy)},
            clock=lambda clock=clock: clock[0],
            rng=Random(1),
            owner="me",
            lease=timedelta(seconds=60),
            retry=retry,
        )
        assert sender.run_once() == 0
        assert outbox.done[-1] == ("failed", 1, "busy", NOW + timedelta(seconds=kept))
        outbox.due.append(row(2))
        clock[0] = NOW + timedelta(seconds=kept - 1)
        assert sender.run_once() == 0
        clock[0] = NOW + timedelta(seconds=kept)
        assert sender.run_once() == 1
