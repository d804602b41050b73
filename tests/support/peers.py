"""A PACS and a RIS that keep every byte they are sent, and a PACS that behaves badly when it is told to."""

import contextlib
import hashlib
import re
import socket
import threading
import time
from collections import Counter, defaultdict

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, Verification
from support.callees import serve

from triage_agent.simulation.ris import SimulatedRis

_HANG_SECONDS = 60.0
_NAMED_STUDY = re.compile(r"\|110180\^[^|]*\|[^|]*\|([0-9.]+)")  # OBX-3, -4 and -5


class KeepingPacs:
    """Takes reports, and remembers what came under each SOP Instance UID, and in which order.

    `behaviour` says how the next reports are met: "ok"; a status; "hang" (until it is "ok" again); "abort"; "close"
    (the connection, with some of the report read); "reject" (the association, for its called AE title).
    """

    def __init__(self, ae_title="PACS", port=0, wanted=()):
        """`wanted`: one behaviour a report, after which it is as `behaviour` says."""
        self.port = port
        self.behaviour = "ok"
        self.wanted = list(wanted)
        self.tries = 0  # reports, also those that were not taken
        self.associations = 0
        self._ae_title = ae_title
        self._bodies = defaultdict(set)
        self._order = []
        self._study_of = {}
        self._lock = threading.Lock()
        self._entity = None

    def start(self):
        """Listen: on the port it had before, if it had one."""
        self._entity = entity = AE(self._ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _HANG_SECONDS
        entity.maximum_pdu_size = 0
        self._offer(entity)
        server = serve(entity, self.port, self._handlers())
        self.port = server.server_address[1]
        return self

    def _offer(self, entity):
        """Say what it takes."""
        entity.add_supported_context(Comprehensive3DSRStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        entity.add_supported_context(Verification)

    def _handlers(self):
        return [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_REQUESTED, self._on_requested),
        ]

    def stop(self):
        """As if its machine were off."""
        if self._entity is not None:
            self._entity.shutdown()
            self._entity = None

    @property
    def order(self):
        """Study Instance UIDs of the reports, in the order in which they were first taken."""
        with self._lock:
            return list(self._order)

    def reports(self):
        """{Study Instance UID: number of different reports}."""
        with self._lock:
            return Counter(self._study_of.values())

    def altered(self):
        """SOP Instance UIDs that came with different bytes."""
        with self._lock:
            return sorted(uid for uid, bodies in self._bodies.items() if len(bodies) > 1)

    def _on_requested(self, event):
        self.associations += 1
        if self.behaviour == "reject":
            event.assoc.ae.require_called_aet = True
            event.assoc.acceptor.ae_title = "NOBODY"  # of this association; the next one may be met better

    def _on_data(self, event):
        # A P-DATA-TF is type 4 (PS3.8 section 9.3.5): the connection goes before the report has come whole.
        if self.behaviour == "close" and event.data[:1] == b"\x04":
            with contextlib.suppress(OSError, AttributeError):
                event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    def _on_store(self, event):
        with self._lock:
            self.tries += 1
            behaviour = self.wanted.pop(0) if self.wanted else self.behaviour
        if isinstance(behaviour, int):
            return behaviour
        if behaviour == "hang":
            self._hang(event)
            behaviour = self.behaviour
        if behaviour == "abort":
            event.assoc.abort()
        if behaviour in {"hang", "abort", "close"}:
            return 0xA700  # nobody hears it
        self._keep(event)
        return 0x0000

    def _hang(self, event):
        waited = 0.0
        while self.behaviour == "hang" and waited < _HANG_SECONDS and event.assoc.is_established:
            threading.Event().wait(0.05)
            waited += 0.05

    def _keep(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        encoded = event.encoded_dataset(include_meta=False)
        study = str(event.dataset.StudyInstanceUID)
        with self._lock:
            if uid not in self._bodies:
                self._order.append(study)
                self._study_of[uid] = study
            self._bodies[uid].add(hashlib.sha256(encoded).hexdigest())


class KeepingRis(SimulatedRis):
    """A RIS that knows a message that comes again."""

    def by_control_id(self):
        """{MSH-10: different messages with it}."""
        found = defaultdict(set)
        for message in self.messages:
            found[message.split("|")[9]].add(message)
        return found

    def altered(self):
        """Control ids of messages that came with different words."""
        return sorted(name for name, messages in self.by_control_id().items() if len(messages) > 1)

    def studies(self):
        """Study Instance UIDs that any message names."""
        return {uid for message in self.messages for uid in _NAMED_STUDY.findall(message)}


class TimingRis(KeepingRis):
    """A RIS that notes in `came` when it first had a whole message about each study, by time.time()."""

    def __init__(self, came):
        super().__init__()
        self._came = came

    def _keep(self, message):
        at = time.time()
        super()._keep(message)
        for uid in _NAMED_STUDY.findall(message):
            self._came.setdefault(uid, at)


def close_for_sure(self):
    """In place of pynetdicom's `AssociationSocket._shutdown_socket`, which closes no socket that its peer has left."""
    if self.socket is not None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
