"""Peers that ask for storage commitment, answer such requests and take reports, made of pynetdicom."""

import threading
from contextlib import contextmanager
from datetime import timedelta
from random import Random

from pydicom import Dataset
from pynetdicom import build_context, evt
from support.callees import scp
from support.instances import DX
from support.listener import RULE, Listening, utc_now

from triage_agent.delivery.answering import Answerer
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.commitment import CommitmentDesk
from triage_agent.dimse.commitment_client import CommitmentClient
from triage_agent.dimse.outgoing import BoundedEntity
from triage_agent.dimse.peers import AccessPolicy, Peer
from triage_agent.dimse.server import DicomServer, ServerSettings
from triage_agent.domain.errors import DeliveryError
from triage_agent.intake.keeping import is_kept
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist.memory import MemoryWorklist

PUSH = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"


def wanted(*uids, transaction_uid="2.25.9", sop_class_uid=DX):
    """The data set of an N-ACTION."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [reference(uid, sop_class_uid) for uid in uids]
    return information


def reference(uid, sop_class_uid=DX):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, uid
    return item


class Reports:
    """Keeps what it is reported: [(event type, {committed}, {failed: reason}, transaction, who called, its role)]."""

    def __init__(self, status=0x0000):
        self.status = status
        self.kept = []
        self.came = threading.Event()

    def on_report(self, event):
        information = event.event_information
        committed = {str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence", [])}
        failed = {
            str(item.ReferencedSOPInstanceUID): item.FailureReason for item in information.get("FailedSOPSequence", [])
        }
        self.kept.append((event.event_type, committed, failed, str(information.TransactionUID)))
        self.came.set()
        return self.status, None

    def handlers(self):
        return [(evt.EVT_N_EVENT_REPORT, self.on_report)]


def peer_that_listens(port=0, reports=None, actions=None):
    """A peer's own port: takes reports, and requests where `actions` answers them; a context that gives its number."""
    handlers = [*(reports.handlers() if reports else []), *([(evt.EVT_N_ACTION, actions)] if actions else [])]
    return scp(handlers, [PUSH], ae_title="PACS", port=port, both_roles={PUSH})


@contextmanager
def asking(port, calling="PACS", reports=None):
    """A peer's association with us, on which it may ask for commitment."""
    entity = BoundedEntity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    association = entity.associate(
        "127.0.0.1",
        port,
        contexts=[build_context(PUSH)],
        ae_title="TRIAGE",
        evt_handlers=reports.handlers() if reports else None,
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def ask(association, information, action=1, instance=INSTANCE):
    """The status of an N-ACTION."""
    status, _ = association.send_n_action(information, action, PUSH, instance)
    return status.Status


def listen_for_commitment(root, peer_port, *, may=("store", "commit"), retry=None, worklist=None):
    """A listener with everything behind it, and the step that answers; the caller stops `server`."""
    peers = (
        Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=peer_port, may=frozenset(may)),
        Peer(name="ris", ae_title="RIS", host="127.0.0.1", port=104, may=frozenset({"store"})),
    )
    spool, worklist = Spool(root, low_water_percent=0), worklist or MemoryWorklist()
    policy, reported = AccessPolicy(peers), []
    desk = CommitmentDesk(
        policy=policy,
        requested=lambda request: worklist.keep_commitment_request(request, utc_now(), utc_now()),
        reported=lambda names, report: reported.append((names, report)),
    )
    receiver = Receiver(spool, worklist, RULE, utc_now)
    server = DicomServer(
        ServerSettings(ae_title="TRIAGE", host="127.0.0.1", port=0),
        begin=receiver.begin,
        receive=receiver.keep,
        policy=policy,
        audit=worklist.record_audit,
        clock=utc_now,
        commitment=desk,
    )
    server.start()
    client = CommitmentClient(peers[0], calling_ae_title="TRIAGE", connect_seconds=60.0, answer_seconds=60.0)

    def tell(peer, report):
        try:
            client.report(report)
        except DeliveryError as error:
            if error.permanent or desk.report_where_asked(peer, report, 5.0) != 0:
                raise

    answerer = Answerer(
        worklist=worklist,
        is_kept=lambda instance, read_whole: is_kept(root, instance, read_whole=read_whole),
        tell=tell,
        clock=utc_now,
        rng=Random(1),
        lease=timedelta(seconds=30),
        retry=retry or RetryPolicy(first=timedelta(seconds=0.05), longest=timedelta(seconds=0.1)),
    )
    listening = Listening(server, spool, worklist)
    return listening, answerer, reported
