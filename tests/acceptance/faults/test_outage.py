"""A PACS is away for an hour of simulated time while studies arrive: reports wait in order, and the RIS never waits.

Worklist, outbox and senders are the real ones, on SQLite; the clock, the decisions and the two peers are the test's.
"""

import os
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.story import RULE, decision, received, shipment
from support.trials import SEED, TRIALS, write_figures

from triage_agent.delivery.sender import Sender
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.migrate import upgrade

_STUDIES = 5000 if TRIALS else 200
_MEMORY = "/dev/shm"  # noqa: S108 - in a folder of our own there
_HOUR = timedelta(hours=1)
_LEASE = timedelta(seconds=15)
_TICK = timedelta(seconds=1)
_START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

pytestmark = pytest.mark.timeout(1800 if TRIALS else 120)


class Clock:
    """The simulated time."""

    def __init__(self):
        self.now = _START

    def __call__(self):
        return self.now


class Peer:
    """A transport's other side: what it was sent, and when."""

    def __init__(self, kind, clock):
        self.kinds = frozenset({kind})
        self.away = False
        self.took = {}  # UID: when
        self.tries = 0
        self._clock = clock

    def send(self, artifact):
        self.tries += 1
        if self.away:
            raise DeliveryError("no connection (refused)", permanent=False, away=True)
        assert artifact.uid not in self.took
        self.took[artifact.uid] = self._clock()

    def close(self):
        pass


class Hospital:
    """One worklist, a sender for each of its two peers, and studies that are decided as they arrive."""

    def __init__(self, url):
        upgrade(url)
        self.clock = Clock()
        self._engine = open_engine(url)
        self.worklist = SqlWorklist(self._engine)
        self.pacs, self.ris = Peer(ArtifactKind.SR, self.clock), Peer(ArtifactKind.HL7_ORU, self.clock)
        self._chance = random.Random(SEED)
        self.priority = {}  # UID of a report: its study's rank, and when it came
        self._senders = {name: self._sender(name, peer) for name, peer in {"pacs": self.pacs, "ris": self.ris}.items()}

    def _sender(self, name, peer):
        return Sender(
            worklist=self.worklist,
            transports={name: peer},
            clock=self.clock,
            rng=self._chance,
            owner=f"deliver-{name}",
            lease=_LEASE,
        )

    def arrive(self, number):
        """A study comes, is complete and decided; its report is for the PACS, its message for the RIS."""
        study, now = f"1.2.{number}", self.clock()
        asked = self._chance.choice(list(Priority))
        self.worklist.register(received(study, f"{study}.1", now, requested_priority=asked), RULE)
        (view,) = [
            each
            for each in self.worklist.due_for_completion(now + RULE.quiet, limit=10)
            if each.study_instance_uid == study
        ]
        assert self.worklist.complete(view, "all here", now)
        claimed = self.worklist.claim_study("worker", now, _LEASE)
        decided = self._chance.choice(list(Priority))
        report = shipment(f"2.25.{number}", "pacs")
        message = shipment(f"M{number}", "ris", ArtifactKind.HL7_ORU)
        assert claimed.study_instance_uid == study
        assert self.worklist.decide(decision(study, at=now, priority=decided), (), (report, message), "worker")
        self.priority[report.artifact.uid] = (asked.raised_to(decided).rank, now)

    def close(self):
        self._engine.dispose()

    def run(self):
        """What the delivery loops do in a moment."""
        for name, sender in self._senders.items():
            while sender.run_once(name):
                pass


def out_of_order(hospital):
    """Reports that came after one that was less urgent, or as urgent and younger.

    Without the first: it finds that the PACS is back, and is whichever was due then.
    """
    inversions, lowest = 0, None
    for uid in list(hospital.pacs.took)[1:]:
        rank, at = hospital.priority[uid]
        place = (-rank, at)
        if lowest is not None and place < lowest:
            inversions += 1
        lowest = place if lowest is None else max(lowest, place)
    return inversions


@pytest.fixture
def folder(tmp_path):
    """In memory where there is such a place: it is not the disk that is tried here."""
    if not os.access(_MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY) as made:
        yield made


def test_reports_wait_in_order_for_a_pacs_that_is_away_for_an_hour_and_the_ris_never_waits(folder):
    hospital = Hospital(f"sqlite:///{folder}/triage.db")
    hospital.pacs.away = True
    started = time.monotonic()
    for number in range(_STUDIES):
        hospital.arrive(number)
        hospital.run()
        assert len(hospital.ris.took) == number + 1  # sent in the moment in which it was decided
        hospital.clock.now += _HOUR / _STUDIES
    tries_while_away, back_at = hospital.pacs.tries, hospital.clock()
    assert hospital.pacs.took == {}
    hospital.pacs.away = False
    while len(hospital.pacs.took) < _STUDIES:
        hospital.run()
        hospital.clock.now += _TICK
        assert hospital.clock() < back_at + timedelta(minutes=10)
    figures = {
        "studies": _STUDIES,
        "simulated_seconds_until_all_were_sent": (hospital.clock() - back_at).total_seconds(),
        "tries_while_away": tries_while_away,
        "out_of_order": out_of_order(hospital),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_figures("outage", **figures)
    assert tries_while_away <= 3600 / 15 + 20  # it is looked for now and then, and not once a report
    assert set(hospital.pacs.took) == set(hospital.priority)
    assert figures["out_of_order"] == 0, figures
    assert hospital.worklist.counts()["status"]["delivered"] == _STUDIES
    hospital.close()
