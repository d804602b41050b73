"""The loops of storage commitment: what they hold, whom they leave alone, what they tell the metrics."""

from datetime import timedelta
from random import Random

import pytest
from support.story import DX, LEASE, RULE, T0, received

from triage_agent.delivery import answering
from triage_agent.delivery.answering import Answerer
from triage_agent.delivery.committing import Asker, CommitmentRule, ReportTaker
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest, Reference, Reported
from triage_agent.domain.errors import DeliveryError, WorklistUnavailableError
from triage_agent.worklist.memory import MemoryWorklist

SECOND = timedelta(seconds=1)
RETRY = RetryPolicy(first=8 * SECOND, longest=60 * SECOND, give_up_after=timedelta(minutes=5))
AWAY = DeliveryError("no connection", permanent=False, away=True)


class Desk:
    """A worklist, a clock that stands, and a peer that takes reports or fails as told."""

    def __init__(self, *faults, is_kept=lambda instance, read_whole: True):
        self.worklist, self.now, self.told, self.outcomes = MemoryWorklist(), T0, [], []
        self.faults = list(faults)
        self.looked = []
        self.is_kept = is_kept
        self.answerer = Answerer(
            worklist=self.worklist,
            is_kept=self.look,
            tell=self.tell,
            clock=lambda: self.now,
            rng=Random(1),
            lease=LEASE,
            retry=RETRY,
            observed=self.outcomes.append,
        )

    def look(self, instance, *, read_whole):
        self.looked.append((instance.sop_instance_uid, read_whole))
        return self.is_kept(instance, read_whole)

    def tell(self, peer, report):
        self.told.append((peer, report))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault

    def asked(self, *uids, peer="pacs", transaction_uid="2.25.9"):
        references = tuple(Reference(DX, uid) for uid in uids)
        request = CommitmentRequest(peer=peer, transaction_uid=transaction_uid, references=references)
        self.worklist.keep_commitment_request(request, self.now, self.now)

    def has(self, *uids):
        for uid in uids:
            self.worklist.register(received(image=uid, at=self.now), RULE)


def test_a_request_is_answered_in_the_order_of_its_references():
    desk = Desk()
    desk.has("1.2.1.1", "1.2.1.2")
    desk.asked("1.2.1.2", "1.2.1.9", "1.2.1.1")
    assert desk.answerer.step()
    ((peer, report),) = desk.told
    assert (peer, [one.sop_instance_uid for one in report.committed]) == ("pacs", ["1.2.1.2", "1.2.1.1"])
    assert [(one.sop_instance_uid, reason) for one, reason in report.failed] == [("1.2.1.9", 0x0112)]
    assert desk.outcomes == ["failed"]


def test_files_are_read_whole_until_there_are_too_many_bytes_of_them(monkeypatch):
    monkeypatch.setattr(answering, "_READ_WHOLE", 2500)
    desk = Desk()
    desk.has("1.2.1.1", "1.2.1.2", "1.2.1.3")
    desk.asked("1.2.1.1", "1.2.1.2", "1.2.1.3")
    desk.answerer.step()
    assert desk.looked == [("1.2.1.1", True), ("1.2.1.2", True), ("1.2.1.3", False)]


def test_a_request_stays_held_while_its_files_are_looked_at():
    def slow(_instance, _read_whole):
        desk.now += LEASE / 2
        assert desk.worklist.claim_commitment_request(desk.now, desk.now + LEASE) is None
        return True

    desk = Desk(is_kept=slow)
    desk.has(*(f"1.2.1.{number}" for number in range(1, 7)))
    desk.asked(*(f"1.2.1.{number}" for number in range(1, 7)))
    assert desk.answerer.step()
    assert desk.outcomes == ["committed"]


def test_a_peer_that_is_away_is_left_alone_and_told_again_later():
    desk = Desk(AWAY, AWAY)
    desk.asked("1.2.1.1")
    assert desk.answerer.step()
    assert not desk.answerer.step()
    for _ in range(3):
        desk.now += 60 * SECOND
        desk.answerer.step()
    assert desk.outcomes == ["retry", "retry", "failed"]


def test_a_peer_that_stays_away_is_given_up_in_the_end():
    desk = Desk(*[AWAY] * 100)
    desk.asked("1.2.1.1")
    for _ in range(100):
        desk.now += 60 * SECOND
        desk.answerer.step()
    assert desk.outcomes[-1] == "dead"
    assert len(desk.outcomes) == RETRY.max_attempts


def test_a_refused_report_is_dead_at_once():
    desk = Desk(DeliveryError("N-EVENT-REPORT answered 0x0115", permanent=True))
    desk.asked("1.2.1.1")
    assert desk.answerer.step()
    desk.now += 60 * SECOND
    assert not desk.answerer.step()
    assert desk.outcomes == ["dead"]


class Questions:
    """Stands for the worklist: always has something to ask, and keeps what became of it."""

    def __init__(self):
        self.ended = []

    def claim_commitments(self, destination, transaction_uid, now, until, limit, most_asks):
        assert until > now
        return [type("Artifact", (), {"body": b"a"})(), type("Artifact", (), {"body": b"b"})()]

    def commitments_asked(self, transaction_uid, until):
        self.ended.append((transaction_uid, until))

    def commitments_not_asked(self, transaction_uid, error, again_at, *, counted):
        self.ended.append((transaction_uid, again_at, counted))

    def commitment_reported(self, destinations, report, most_resends, now):
        return Reported(committed=2, dead=1)


class Destination:
    def __init__(self, *faults):
        self.now, self.faults, self.asked, self.outcomes = T0, list(faults), [], []
        self.questions = Questions()
        self.asker = Asker(
            worklist=self.questions,
            destination="pacs",
            ask=self.ask,
            clock=lambda: self.now,
            new_uid=lambda: f"2.25.{len(self.asked)}",
            rule=CommitmentRule(),
            retry=RETRY,
            observed=lambda *what: self.outcomes.append(what),
        )

    def ask(self, transaction_uid, objects):
        self.asked.append((transaction_uid, objects))
        if self.faults:
            raise self.faults.pop(0)


def test_a_question_that_was_taken_has_its_time_to_be_answered():
    destination = Destination()
    assert destination.asker.step()
    assert destination.asked == [("2.25.0", [b"a", b"b"])]
    assert destination.questions.ended == [("2.25.0", T0 + timedelta(hours=1))]
    assert destination.outcomes == [("pacs", "asked", 2)]


def test_a_destination_that_is_away_is_left_alone_and_the_question_does_not_count():
    destination = Destination(AWAY)
    assert not destination.asker.step()
    assert not destination.asker.step()
    ((_, again_at, counted),) = destination.questions.ended
    assert (len(destination.asked), counted) == (1, False)
    destination.now = again_at
    assert destination.asker.step()
    assert [outcome for _, outcome, _ in destination.outcomes] == ["away", "asked"]


@pytest.mark.parametrize("permanent", [True, False])
def test_a_refused_question_counts_and_is_put_again_after_the_time_for_an_answer(permanent):
    destination = Destination(DeliveryError("N-ACTION answered 0x0110", permanent=permanent))
    assert not destination.asker.step()
    assert destination.questions.ended == [("2.25.0", T0 + timedelta(hours=1), True)]
    assert destination.outcomes == [("pacs", "refused", 2)]


def test_the_metrics_hear_what_a_report_changed():
    heard = []
    taker = ReportTaker(
        worklist=Questions(), clock=lambda: T0, rule=CommitmentRule(), observed=lambda *what: heard.append(what)
    )
    assert taker.take(frozenset({"pacs"}), CommitmentReport(transaction_uid="2.25.9")).dead == 1
    assert heard == [(frozenset({"pacs"}), "committed", 2), (frozenset({"pacs"}), "dead", 1)]


def test_a_database_that_is_away_stops_the_step_and_loses_nothing(monkeypatch):
    desk = Desk()
    desk.asked("1.2.1.1")

    def away(*_):
        raise WorklistUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(desk.worklist, "commitment_answered", away)
        with pytest.raises(WorklistUnavailableError):
            desk.answerer.step()
    desk.now += timedelta(minutes=10)
    assert desk.answerer.step()
    assert len(desk.told) == 2
