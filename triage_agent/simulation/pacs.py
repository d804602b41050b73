"""A PACS for demonstrations and tests: sends studies, keeps what comes back, knows how many images a study has.

It speaks pynetdicom directly and shares no code with the agent's own DIMSE side, so that the two check each other.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.events import Event
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

_SUCCESS = 0x0000
_PENDING = 0xFF00
_OUT_OF_RESOURCES = 0xA700
_TIMEOUT_SECONDS = 30


class SimulatedPacs:
    """A storage and query SCP on loopback, and a sender of studies."""

    def __init__(self, ae_title: str = "PACS", *, received: Callable[[Dataset], None] | None = None) -> None:
        self.ae_title = ae_title
        self.port = 0
        self.out_of_resources = False  # answer 0xA700 to everything, as a PACS with a full disk does
        self._received = received
        self._objects: dict[str, Dataset] = {}
        self._stores: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ae = AE(ae_title)
        self._ae.maximum_pdu_size = 0
        self._ae.supported_contexts = [
            build_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)  # type: ignore[arg-type]
            for context in AllStoragePresentationContexts
        ]
        for sop_class in (Verification, StudyRootQueryRetrieveInformationModelFind):
            self._ae.add_supported_context(sop_class)

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1, which `port` then names."""
        server = self._ae.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._on_store), (evt.EVT_C_FIND, self._on_find)],
        )
        assert server is not None  # noqa: S101 - only a blocking server returns None
        self.port = server.server_address[1]

    def stop(self) -> None:
        """Stop listening; what was received stays readable."""
        self._ae.shutdown()

    @property
    def objects(self) -> list[Dataset]:
        """Everything kept, in the order in which it first came."""
        with self._lock:
            return list(self._objects.values())

    def times_stored(self, sop_instance_uid: str) -> int:
        """How often an object was sent to us."""
        with self._lock:
            return self._stores[sop_instance_uid]

    def send(self, datasets: Sequence[Dataset], host: str, port: int, called_ae_title: str) -> None:
        """Send data sets over one association.

        Raises:
            ConnectionError: the association or one of the stores was refused.
        """
        ae = AE(self.ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_SECONDS
        ae.maximum_pdu_size = 0
        pairs = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in datasets}
        ae.requested_contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in sorted(pairs)]
        association = ae.associate(host, port, ae_title=called_ae_title)
        if not association.is_established:
            raise ConnectionError(f"no association with {called_ae_title} at {host}:{port}")
        try:
            for dataset in datasets:
                status = association.send_c_store(dataset)
                if "Status" not in status or status.Status != _SUCCESS:
                    raise ConnectionError(f"C-STORE was answered with {status}")
                with self._lock:
                    self._sent[str(dataset.StudyInstanceUID)] += 1
        finally:
            if association.is_established:
                association.release()

    def _on_store(self, event: Event) -> int:
        if self.out_of_resources:
            return _OUT_OF_RESOURCES
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        uid = str(dataset.SOPInstanceUID)
        with self._lock:
            self._stores[uid] += 1
            is_new = uid not in self._objects
            self._objects.setdefault(uid, dataset)
        if is_new and self._received is not None:
            self._received(dataset)
        return _SUCCESS

    def _on_find(self, event: Event) -> Iterator[tuple[int, Dataset | None]]:
        uid = str(event.identifier.get("StudyInstanceUID", ""))
        with self._lock:
            number = self._sent[uid]
        if number:
            answer = Dataset()
            answer.QueryRetrieveLevel = "STUDY"
            answer.StudyInstanceUID = uid
            answer.NumberOfStudyRelatedInstances = number
            yield _PENDING, answer
        yield _SUCCESS, None
