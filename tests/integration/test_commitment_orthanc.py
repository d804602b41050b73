"""Storage commitment as user of Orthanc: what it keeps is committed, what it has lost is sent again."""

import gc
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest
from support.associations import eventually
from support.callees import client
from support.commitment import listen_for_commitment
from support.instances import dx, part10
from support.listener import utc_now
from support.orthanc import orthanc_server
from support.story import STUDY, Story, shipment

from triage_agent.delivery.committing import Asker, CommitmentRule, ReportTaker
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.commitment_client import CommitmentClient
from triage_agent.dimse.peers import REPORT, Peer
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, DeliveryState
from triage_agent.worklist.memory import MemoryWorklist

pytestmark = [pytest.mark.external, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

KINDS = (ArtifactKind.SR, ArtifactKind.GSPS)


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def orthanc(tmp_path):
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with orthanc_server(folder) as running:
        yield running


class Destination:
    """Two results that wait for Orthanc, with all that sends, asks, and hears what it reports on a call of its own."""

    def __init__(self, orthanc, folder, **rule):
        self.story = Story(MemoryWorklist())
        self.story.now = utc_now() - timedelta(minutes=10)
        self.uids = [str(dx().SOPInstanceUID) for _ in KINDS]
        bodies = [part10(dx(SOPInstanceUID=uid, StudyInstanceUID=STUDY)) for uid in self.uids]
        results = zip(self.uids, KINDS, bodies, strict=True)
        self.story.decided(*(shipment(uid, "pacs", kind, body) for uid, kind, body in results))
        self._scu = client(orthanc.port, ae_title="PACS", calling="TRIAGE")
        self._listening, _, self._reported = listen_for_commitment(folder / "spool", orthanc.port, may=(REPORT,))
        orthanc.knows(SimpleNamespace(port=self._listening.port))
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=orthanc.port, may=frozenset())
        waits = {"connect_seconds": 60.0, "answer_seconds": 60.0}
        self._asks = CommitmentClient(peer, calling_ae_title="TRIAGE", reported=self._keep, **waits)
        rule, numbers = CommitmentRule(**rule), count(1)
        self._taker = ReportTaker(worklist=self.story.worklist, clock=utc_now, rule=rule)
        self._asker = Asker(
            worklist=self.story.worklist,
            destination="pacs",
            ask=self._asks.ask,
            clock=utc_now,
            new_uid=lambda: f"2.25.9{next(numbers)}",
            rule=rule,
            retry=RetryPolicy(),
        )

    def _keep(self, names, report):
        self._reported.append((names, report))

    def send(self):
        """Send what is due; returns how many results that were."""
        self.story.now = utc_now()
        sent = self.story.deliveries()
        for delivery in sent:
            self._scu.store(delivery.artifact.body)
            self.story.worklist.delivery_sent(delivery, utc_now(), commit=True)
        return len(sent)

    def ask(self):
        """Put the question, and keep the answer."""
        assert self._asker.step()
        assert eventually(lambda: self._reported)
        self._taker.take(*self._reported.pop())

    def states(self):
        return [delivery.state for delivery in self.story.worklist.study(STUDY).deliveries]

    def close(self):
        self._asks.close()
        self._scu.close()
        self._listening.server.stop()


@pytest.fixture
def destination(orthanc, tmp_path):
    made = []

    def make(**rule):
        made.append(Destination(orthanc, tmp_path, **rule))
        return made[0]

    yield make
    for one in made:
        one.close()


def test_what_orthanc_keeps_is_committed_and_what_it_lost_is_sent_again_until_it_keeps_it(orthanc, destination):
    pacs = destination()
    assert pacs.send() == 2
    orthanc.forget(pacs.uids[1])
    pacs.ask()
    assert pacs.states() == [DeliveryState.COMMITTED, DeliveryState.PENDING]
    assert pacs.send() == 1
    pacs.ask()
    assert pacs.states() == [DeliveryState.COMMITTED] * 2
    assert AuditAction.DELIVERY_NOT_COMMITTED in pacs.story.actions()


def test_what_orthanc_loses_each_time_is_dead_in_the_end_and_the_rest_stays_committed(orthanc, destination):
    pacs = destination(most_resends=1)
    assert pacs.send() == 2
    for again in (1, 0):
        orthanc.forget(pacs.uids[0])
        pacs.ask()
        assert pacs.send() == again
    assert pacs.states() == [DeliveryState.DEAD, DeliveryState.COMMITTED]
