"""The other side of each route, a process of its own that takes what it is sent and says at the end what came.

Each knows what it has had, so that what comes twice counts once; none does more than the protocol asks of it.
"""

import contextlib
import json
import multiprocessing
import re
import time

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from support.callees import scp, serve
from support.http_peer import Said, http_peer
from support.peers import KeepingRis, TimingRis
from support.ups import EVENT, PUSH, close_for_sure

RESULT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
    "1.2.840.10008.5.1.4.1.1.11.1",  # Grayscale Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
)
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_INSTANCE = re.compile(rb"\x08\x00\x18\x00UI(..)([0-9.]+)", re.DOTALL)  # (0008,0018), explicit VR
_PROGRESS = 3  # UPS Progress Report (PS3.4 table CC.2.4-1)


@contextlib.contextmanager
def _mllp(came):
    ris = KeepingRis()
    ris.start()
    try:
        yield ris.port
        came.update(dict.fromkeys(ris.by_control_id(), 0.0))
    finally:
        ris.stop()


@contextlib.contextmanager
def _ris(came):
    ris = TimingRis(came)
    ris.start()
    try:
        yield ris.port
    finally:
        ris.stop()


@contextlib.contextmanager
def _store(came):
    def keep(event):
        came.setdefault(str(event.request.AffectedSOPInstanceUID), time.time())
        return 0x0000

    contexts = [(one, list(_SYNTAXES)) for one in RESULT_CLASSES]
    with scp([(evt.EVT_C_STORE, keep)], contexts, ae_title="PEER") as port:
        yield port


@contextlib.contextmanager
def _workitems(came):
    def create(event):
        uid = str(event.request.AffectedSOPInstanceUID)
        known = uid in came
        came.setdefault(uid, time.time())
        return 0x0111 if known else 0x0000, None

    with scp([(evt.EVT_N_CREATE, create)], [PUSH], ae_title="PEER") as port:
        yield port


@contextlib.contextmanager
def _events(came):
    def told(event):
        if event.event_type == _PROGRESS:
            came.setdefault(str(event.request.AffectedSOPInstanceUID), time.time())
        return 0x0000, None

    entity = AE(ae_title="WATCHER")
    entity.add_supported_context(EVENT, scu_role=True, scp_role=True)
    server = serve(entity, 0, [(evt.EVT_CONN_OPEN, close_for_sure), (evt.EVT_N_EVENT_REPORT, told)])
    try:
        yield server.server_address[1]
    finally:
        entity.shutdown()


@contextlib.contextmanager
def _stow(came):
    def answer(asked):
        uid = _INSTANCE.search(asked.body)[2].decode()
        came.setdefault(uid, time.time())
        kept = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}}
        return Said(200, json.dumps(kept).encode(), {"Content-Type": "application/dicom+json"})

    with http_peer(answer) as peer:
        yield peer.port


@contextlib.contextmanager
def _fhir(came):
    def answer(asked):
        if asked.method == "GET":
            return _resource({"resourceType": "Bundle", "type": "searchset", "entry": []})
        entries = json.loads(asked.body)["entry"]
        named = next(one["request"]["url"] for one in entries if one["request"]["url"].startswith("DiagnosticReport?"))
        came.setdefault(named, time.time())
        answers = [{"response": {"status": "201 Created"}}] * len(entries)
        return _resource({"resourceType": "Bundle", "type": "transaction-response", "entry": answers})

    with http_peer(answer) as peer:
        yield peer.port


def _resource(content):
    return Said(200, json.dumps(content).encode(), {"Content-Type": "application/fhir+json"})


_PEERS = {
    "mllp": _mllp,
    "ris": _ris,
    "store": _store,
    "workitems": _workitems,
    "events": _events,
    "stow": _stow,
    "fhir": _fhir,
}


def _run(kind, line):
    came = {}
    with _PEERS[kind](came) as port:
        line.send(port)
        line.recv()
    line.send(came)


def forking():
    """Makes processes by forking one that has imported this module and has no threads or sockets of ours."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["support.routepeers"])
    return made


class PeerProcess:
    """One of the above, running; `came` ends it and gives {what came: when first, by time.time()}."""

    def __init__(self, kind):
        processes = forking()
        self._line, theirs = processes.Pipe()
        self._process = processes.Process(target=_run, args=(kind, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.port = self._line.recv()

    def came(self):
        self._line.send("end")
        found = self._line.recv()
        self._process.join(60)
        return found

    def close(self):
        self._line.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
