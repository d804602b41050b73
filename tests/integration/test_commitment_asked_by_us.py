"""Storage commitment as user: a peer made of pynetdicom takes our questions and reports, or does not."""

import gc
import time
from datetime import timedelta
from itertools import count

import pytest
from pydicom import Dataset
from pynetdicom.sop_class import Verification
from support.associations import eventually
from support.callees import scp
from support.commitment import INSTANCE, PUSH, peer_that_listens, reference
from support.instances import DX, dx, write_part10
from support.listener import utc_now
from support.story import STUDY, Story, shipment

from triage_agent.delivery.committing import Asker, CommitmentRule, ReportTaker
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.commitment_client import CommitmentClient
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import DeliveryState
from triage_agent.worklist.memory import MemoryWorklist

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

PATIENCE = 30.0  # seconds
QUICK = RetryPolicy(first=timedelta(seconds=0.05), longest=timedelta(seconds=0.1))


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


class Archive:
    """Takes questions, and reports on the association that they came on when `reports` says so."""

    def __init__(self, status=0x0000, reports=None):
        self.status, self.reports, self.asked = status, reports, []

    def on_action(self, event):
        self.asked.append((str(event.action_information.TransactionUID), self.named(event)))
        if self.reports is not None:
            self.associations = event.assoc
        return self.status, None

    @staticmethod
    def named(event):
        return [str(item.ReferencedSOPInstanceUID) for item in event.action_information.ReferencedSOPSequence]

    def report_there(self):
        """N-EVENT-REPORT on the association of the last question."""
        transaction_uid, uids = self.asked[-1]
        information = self.reports(transaction_uid, uids)
        event = 2 if "FailedSOPSequence" in information else 1
        status, _ = self.associations.send_n_event_report(information, event, PUSH, INSTANCE)
        return status.get("Status")


def all_kept(transaction_uid, uids):
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [reference(uid) for uid in uids]
    return information


class Sent:
    """A report that the archive has been sent, and the loop that asks about it."""

    def __init__(self, port, folder, *, idle_seconds=5.0, **rule):
        self.story = Story(MemoryWorklist())
        self.story.now = utc_now() - timedelta(minutes=10)
        data_set = dx(SOPInstanceUID="2.25.1")
        body = write_part10(folder / "report.dcm", data_set).read_bytes()
        self.story.decided(shipment("2.25.1", "archive", body=body))
        (delivery,) = self.story.deliveries()
        self.story.worklist.delivery_sent(delivery, self.story.tick(), commit=True)
        rule = CommitmentRule(**rule)
        self.take = ReportTaker(worklist=self.story.worklist, clock=utc_now, rule=rule).take
        self.client = CommitmentClient(
            Peer(name="archive", ae_title="PACS", host="127.0.0.1", port=port, may=frozenset()),
            calling_ae_title="TRIAGE",
            reported=lambda names, report: self.take(names, report) and None,
            connect_seconds=60.0,
            answer_seconds=60.0,
            idle_seconds=idle_seconds,
        )
        numbers = count(1)
        self.outcomes = []
        self.asker = Asker(
            worklist=self.story.worklist,
            destination="archive",
            ask=self.client.ask,
            clock=utc_now,
            new_uid=lambda: f"2.25.7{next(numbers)}",
            rule=rule,
            retry=QUICK,
            observed=lambda _destination, outcome, objects: self.outcomes.append((outcome, objects)),
        )

    @property
    def delivery(self):
        (found,) = self.story.worklist.study(STUDY).deliveries
        return found


def test_a_report_on_the_association_of_the_question_commits(tmp_path):
    archive = Archive(reports=all_kept)
    with peer_that_listens(actions=archive.on_action) as port:
        sent = Sent(port, tmp_path)
        assert sent.asker.step()
        assert not sent.asker.step()
        assert sent.delivery.state is DeliveryState.SENT
        assert archive.report_there() == 0
        assert sent.delivery.state is DeliveryState.COMMITTED
        assert (archive.asked, sent.outcomes) == ([("2.25.71", ["2.25.1"])], [("asked", 1)])
        sent.client.close()


def test_a_report_that_comes_before_the_answer_is_taken_in_between(tmp_path):
    archive = Archive(reports=all_kept)
    heard = []

    def on_action(event):
        answer = archive.on_action(event)
        heard.append(archive.report_there())
        return answer

    with peer_that_listens(actions=on_action) as port:
        sent = Sent(port, tmp_path)
        assert sent.asker.step()
        assert (heard, sent.delivery.state) == ([0], DeliveryState.COMMITTED)
        sent.client.close()


def test_a_report_is_answered_also_where_keeping_it_takes_longer_than_an_idle_association_is_kept(tmp_path):
    archive = Archive(reports=all_kept)
    with peer_that_listens(actions=archive.on_action) as port:
        sent = Sent(port, tmp_path, idle_seconds=0.3)
        take, sent.take = sent.take, lambda *given: time.sleep(0.8) or take(*given)
        assert sent.asker.step()
        assert archive.report_there() == 0
        assert sent.delivery.state is DeliveryState.COMMITTED
        sent.client.close()


def test_an_association_that_has_ended_without_a_word_is_made_anew(tmp_path):
    archive = Archive()
    with peer_that_listens(actions=archive.on_action) as port:
        sent = Sent(port, tmp_path, answer_within=timedelta(0), most_asks=9)
        assert sent.asker.step()
        kept = sent.client._kept
        kept.abort()
        kept.join(PATIENCE)
        kept.is_established = True  # as it still is for a moment while the reactor ends
        assert sent.asker.step()
        assert len(archive.asked) == 2
        sent.client.close()


def test_one_who_does_not_answer_is_asked_again_and_left_alone_in_the_end(tmp_path):
    archive = Archive()
    with peer_that_listens(actions=archive.on_action) as port:
        sent = Sent(port, tmp_path, answer_within=timedelta(seconds=0.05), most_asks=2)
        assert eventually(lambda: not sent.asker.step() and sent.delivery.last_error)
        assert [uids for _, uids in archive.asked] == [["2.25.1"]] * 2
        assert "asked 2 times" in sent.delivery.last_error
        assert sent.delivery.state is DeliveryState.SENT
        sent.client.close()


def test_one_that_is_away_is_asked_when_it_is_back(tmp_path, free_port):
    archive, sent = Archive(reports=all_kept), Sent(free_port, tmp_path, most_asks=1)
    assert not sent.asker.step()
    assert sent.outcomes == [("away", 1)]
    assert "no connection" in sent.delivery.last_error
    with peer_that_listens(free_port, actions=archive.on_action):
        assert eventually(sent.asker.step)
        assert archive.report_there() == 0
        assert sent.delivery.state is DeliveryState.COMMITTED
        sent.client.close()


def test_one_that_refuses_the_question_is_asked_so_often_and_no_more(tmp_path):
    archive = Archive(status=0x0122)
    with peer_that_listens(actions=archive.on_action) as port:
        sent = Sent(port, tmp_path, answer_within=timedelta(seconds=0.01), most_asks=2)
        assert eventually(lambda: not sent.asker.step() and "asked 2 times" in (sent.delivery.last_error or ""))
        assert sent.outcomes == [("refused", 1), ("refused", 1)]
        sent.client.close()


def test_check_tells_who_refuses_storage_commitment():
    with scp(contexts=((str(Verification), "1.2.840.10008.1.2"), (DX, "1.2.840.10008.1.2.1"))) as port:
        peer = Peer(name="archive", ae_title="PEER", host="127.0.0.1", port=port, may=frozenset())
        with pytest.raises(DeliveryError, match="storage commitment is not accepted") as caught:
            CommitmentClient(peer, calling_ae_title="TRIAGE").check()
        assert "commit = true" in caught.value.remedy


def test_check_tells_who_accepts_it():
    with peer_that_listens() as port:
        peer = Peer(name="archive", ae_title="PACS", host="127.0.0.1", port=port, may=frozenset())
        assert "accepts storage commitment" in CommitmentClient(peer, calling_ae_title="TRIAGE").check()
