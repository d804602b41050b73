"""Clients of the Unified Procedure Step service, made of pynetdicom, and a listener with a database behind it."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from pydicom import Dataset
from pynetdicom import AE, build_context, evt
from support.callees import close_for_sure
from support.listener import RULE, utc_now

from triage_agent.delivery.announcing import Announcer
from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.outgoing import BoundedEntity
from triage_agent.dimse.peers import AccessPolicy, Peer
from triage_agent.dimse.server import DicomServer, ServerSettings
from triage_agent.dimse.ups import UpsDesk
from triage_agent.dimse.ups_client import ReportClient
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.workitems import workitems_of

PUSH = "1.2.840.10008.5.1.4.34.6.1"
WATCH = "1.2.840.10008.5.1.4.34.6.2"
PULL = "1.2.840.10008.5.1.4.34.6.3"
EVENT = "1.2.840.10008.5.1.4.34.6.4"
QUERY = "1.2.840.10008.5.1.4.34.6.5"
GLOBAL = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"


def keys(**values):
    """An identifier of a C-FIND, with the state, the priority and the UID asked for besides."""
    given = Dataset()
    given.SOPInstanceUID = given.ProcedureStepState = given.ScheduledProcedureStepPriority = given.PatientID = ""
    for name, value in values.items():
        setattr(given, name, value)
    return given


@contextmanager
def calling(port, calling="READER", classes=(PULL, WATCH, PUSH, QUERY)):
    """An association of a workstation with us."""
    entity = BoundedEntity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    association = entity.associate(
        "127.0.0.1", port, contexts=[build_context(one) for one in classes], ae_title="TRIAGE"
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def find(association, identifier, model=PULL):
    """The matches, and the last status."""
    answers = list(association.send_c_find(identifier, model))
    return [item for _, item in answers if item is not None], answers[-1][0].Status


def act(association, action, uid, model=PULL, **values):
    """The status of an N-ACTION."""
    information = Dataset()
    for name, value in values.items():
        setattr(information, name, value)
    status, _ = association.send_n_action(information if values else None, action, PUSH, uid, meta_uid=model)
    return status.Status


def claim(association, uid, transaction="2.25.77"):
    return act(association, 1, uid, ProcedureStepState="IN PROGRESS", TransactionUID=transaction)


def subscribe(association, uid=GLOBAL, receiver="WATCHER", lock="FALSE", action=3, **filters):
    return act(association, action, uid, WATCH, ReceivingAE=receiver, DeletionLock=lock, **filters)


def performed(**values):
    """What an N-SET must have said before a workitem can be completed."""
    item = Dataset()
    item.PerformedStationNameCodeSequence = [coded("RAD1", "99SITE", "Reading room 1")]
    item.PerformedProcedureStepStartDateTime = item.PerformedProcedureStepEndDateTime = "20260101120000"
    item.PerformedWorkitemCodeSequence = [coded("110005", "DCM", "Interpretation")]
    item.OutputInformationSequence = []
    given = Dataset()
    given.UnifiedProcedureStepPerformedProcedureSequence = [item]
    for name, value in values.items():
        setattr(given, name, value)
    return given


def coded(value, scheme, meaning):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


@dataclass
class Watcher:
    """Keeps what it is told: [(event type, workitem, data set)]."""

    status: int = 0x0000
    before: threading.Event | None = None  # it answers nothing before that
    told: list = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def on_report(self, event):
        if self.before is not None:
            self.before.wait(240)
        with self.came:
            self.told.append(
                (event.event_type, str(event.request.AffectedSOPInstanceUID), event.event_information, time.monotonic())
            )
            self.came.notify_all()
        return self.status, None

    def wait_for(self, number, seconds=60.0):
        with self.came:
            assert self.came.wait_for(lambda: len(self.told) >= number, seconds), self.told
            return [(kind, uid, said) for kind, uid, said, _ in self.told]


@contextmanager
def watching(watcher, port=0, ae_title="WATCHER"):
    """A subscriber's own port; yields its number."""
    entity = AE(ae_title=ae_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    entity.add_supported_context(EVENT, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_CONN_OPEN, close_for_sure), (evt.EVT_N_EVENT_REPORT, watcher.on_report)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield server.server_address[1]
    finally:
        entity.shutdown()


@dataclass
class UpsAgent:
    """A running listener, its worklist, and the step that tells subscribers."""

    server: DicomServer
    worklist: SqlWorklist
    workitems: object
    announcer: Announcer
    client: ReportClient

    @property
    def port(self):
        return self.server.address[1]

    def tell(self):
        """Tell what there is to tell now."""
        while self.announcer.step():
            pass


@contextmanager
def ups_agent(url, root, watcher_port=104, retry=None):
    """PACS may store and query, READER may also change workitems, WATCHER may query and be told, NURSE only store."""
    peers = [
        _peer("PACS", 104, "store", "query"),
        _peer("READER", 104, "query", "ups"),
        _peer("WATCHER", watcher_port, "query"),
        _peer("NURSE", 104, "store"),
    ]
    engine = open_engine(url)
    worklist, policy = SqlWorklist(engine), AccessPolicy(peers)
    workitems = workitems_of(worklist)
    receiver = Receiver(Spool(root, low_water_percent=0), worklist, RULE, utc_now)
    desk = UpsDesk(
        workitems,
        ae_title="TRIAGE",
        policy=policy,
        peers={"pacs": "PACS", "reader": "READER", "watcher": "WATCHER"},
        clock=utc_now,
    )
    server = DicomServer(
        ServerSettings(ae_title="TRIAGE", host="127.0.0.1", port=0),
        begin=receiver.begin,
        receive=receiver.keep,
        policy=policy,
        audit=worklist.record_audit,
        clock=utc_now,
        services=[desk],
    )
    client = ReportClient(peers[2], calling_ae_title="TRIAGE", connect_seconds=60.0, answer_seconds=60.0)
    announcer = Announcer(
        workitems=workitems,
        tell=client.tell,
        clock=utc_now,
        rng=Random(1),
        retry=retry or RetryPolicy(),
    )
    server.start()
    try:
        yield UpsAgent(server, worklist, workitems, announcer, client)
    finally:
        client.close()
        server.stop(1)
        engine.dispose()


def _peer(title, port, *may):
    return Peer(name=title.lower(), ae_title=title, host="127.0.0.1", port=port, may=frozenset(may))
