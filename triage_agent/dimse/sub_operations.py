"""C-STORE sub-operations of a C-GET: the PACS sends on the association that we asked on (PS3.4 section C.4.3)."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_role

from triage_agent.dimse.contexts import storage_sop_classes, transfer_syntaxes
from triage_agent.dimse.messages import Incoming, Messages, Terms, incoming_of
from triage_agent.dimse.outgoing import Context, end
from triage_agent.dimse.server import CANNOT_UNDERSTAND, DATA_SET_DOES_NOT_MATCH, OUT_OF_RESOURCES, SUCCESS
from triage_agent.dimse.wire import BoundedSocket
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.sop_classes import RADIOGRAPHS

log = structlog.get_logger(__name__)

_MOST_CONTEXTS = 127  # PS3.8 table 9-18 has room for 128, and one is C-GET's own
_MOST_BYTES = 2 << 30  # in one data set; the server's limit is the same
_FAREWELL_SECONDS = 1.0  # for the thread that receives to end, once its connection is closed
# What a study of radiographs is made of, where the PACS does not say: DX for processing, secondary capture.
_LIKELY = RADIOGRAPHS | {"1.2.840.10008.5.1.4.1.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"}


class Keeper(Protocol):
    """Keeps instances that come fragment by fragment."""

    def begin(self, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, source: str) -> Incoming:
        """See `Begin`."""

    def keep(self, incoming: Any, /) -> object:
        """Keep what `begin` made; returns when it is durable and on the worklist.

        Raises InvalidDatasetError, StorageExhaustedError or WorklistUnavailableError.
        """


class SubOperationsServer:
    """Keeps what comes on one association; each is durable before it is answered 0x0000 (promise 1).

    No data set is in memory as a whole: its fragments go on as they come.

    Args:
        keeper: where they go.
        source: the PACS's AE title, as instances are registered.
        seconds: how long data sets may come; then, and when one is too long, the connection is cut.
    """

    def __init__(self, keeper: Keeper, source: str, seconds: float) -> None:
        self._keeper = keeper
        self._source = source
        self._deadline = time.monotonic() + seconds
        self._bytes = 0  # that came since the last data set

    @property
    def handlers(self) -> list[EventHandlerType]:
        """What to bind to the association."""
        return [(evt.EVT_C_STORE, self._on_store), (evt.EVT_DATA_RECV, self._on_data)]

    @contextmanager
    def attached(self, association: Association) -> Iterator[None]:
        """Have the association's messages come in fragments; nothing but answers may have been asked for on it yet."""
        messages = Messages(
            association, Terms(begin=self._begin, largest=_MOST_BYTES, slowest=0, grace=association.dimse_timeout or 0)
        )
        association.dimse = messages
        try:
            yield
        finally:
            messages.end()
            end(association)
            association.dul.join(_FAREWELL_SECONDS)
            if not association.dul.is_alive():  # else what is unfinished is deleted at the next start
                messages.abandon()

    def _begin(self, **request: str) -> Incoming:
        return self._keeper.begin(**{**request, "source": self._source})

    def _on_data(self, event: evt.Event) -> None:
        """A PACS that never ends fills neither the memory nor the time."""
        self._bytes += len(event.data)
        if self._bytes > _MOST_BYTES or time.monotonic() > self._deadline:
            log.warning("retrieval_cut", peer=self._source, bytes=self._bytes)
            wire = event.assoc.dul.socket
            if isinstance(wire, BoundedSocket):
                wire.cut()

    def _on_store(self, event: evt.Event) -> int:
        self._bytes = 0
        incoming = incoming_of(event.request)
        if incoming is None:
            return DATA_SET_DOES_NOT_MATCH
        with closing(incoming):
            return self._status(incoming)

    def _status(self, incoming: Incoming) -> int:
        try:
            self._keeper.keep(incoming)
        except InvalidDatasetError as error:
            log.warning("sub_operation_refused", peer=self._source, why=error.message)
            return DATA_SET_DOES_NOT_MATCH
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            log.warning("sub_operation_refused", peer=self._source, why=error.message)
            return OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - a bug costs one instance its acknowledgement, as in the server
            log.error("sub_operation_failed", peer=self._source, error=type(error).__name__)  # noqa: TRY400 - names
            return CANNOT_UNDERSTAND
        return SUCCESS


def contexts_to_keep(sop_classes: Collection[str]) -> tuple[list[Context], list[SCP_SCU_RoleSelectionNegotiation]]:
    """The storage contexts to propose for what a PACS is going to send, and for each that we are its SCP.

    Each transfer syntax has a context of its own, so that the PACS need not convert what it has.
    """
    known = {uid for uid in sop_classes if uid in storage_sop_classes()}
    classes: Sequence[str] = sorted(known or _LIKELY)[:_MOST_CONTEXTS]
    syntaxes = transfer_syntaxes()[: max(1, _MOST_CONTEXTS // len(classes))]
    contexts = [(sop_class, str(syntax)) for sop_class in classes for syntax in syntaxes]
    return contexts, [build_role(sop_class, scp_role=True) for sop_class in classes]
