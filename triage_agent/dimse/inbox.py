"""What a peer sends on an association: put together whole, of bounded length, and served one after the other.

pynetdicom serves each N-EVENT-REPORT in a thread of its own: a peer has as many of them as it likes, their answers come
between the fragments of other messages, and the association may be released under them. Here they wait their turn.
"""

from io import BytesIO
from typing import Any

import structlog
from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, N_EVENT_REPORT, DimseServiceType
from pynetdicom.pdu_primitives import P_DATA

log = structlog.get_logger(__name__)

LARGEST_COMMAND = 1 << 16  # bytes; a C-STORE request's command set has two hundred
LARGEST_IN_MEMORY = 4 << 20  # bytes, for a data set: a query, a commitment of 20,000 instances
_MOST_CANCELS = 10
_MOST_SERVED = 100  # reports of a peer that are served while its answer is waited for


class Inbox(DIMSEServiceProvider):
    """The messages of an association, for its reactor or for whoever waits for an answer."""

    def get_msg(self, block: bool = False) -> Any:
        """The next message; who waits for one (`block`) serves the peer's reports that come before it.

        Returns:
            Presentation context id and message; None and None where none is there, or none came in time.
        """
        for _ in range(_MOST_SERVED if block else 1):
            context_id, message = super().get_msg(block)
            if not block or message is None or context_id is None or not _is_report(message):
                return context_id, message
            self.assoc._serve_request(message, context_id)  # noqa: SLF001 - what the reactor does with it
        return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take up a P-DATA; what makes no sense or no end aborts the association (PS3.8 section 9.2.3, AA-8)."""
        try:
            for value in primitive.presentation_data_value_list:
                self.collect(value)
        except Exception as error:  # noqa: BLE001 - strangers' input must not end a thread with a traceback
            self.refuse(type(error).__name__)
            return
        if self.too_long():
            self.refuse("message too long")

    def collect(self, value: tuple[int, Any]) -> None:
        """Add a fragment to the message that is coming, and put it where it is asked for when it is whole.

        One at a time: pynetdicom drops what follows the end of a message in the same P-DATA.

        Raises:
            Exception: it cannot be read.
        """
        one = P_DATA()
        one.presentation_data_value_list.append(value)
        message = self.message = self.message or DIMSEMessage()
        if not message.decode_msg(one, self.assoc):
            return
        evt.trigger(self.assoc, evt.EVT_DIMSE_RECV, {"message": message})
        whole: Any = message.message_to_primitive()
        self.message = None
        if isinstance(whole, C_CANCEL) and len(self.cancel_req) < _MOST_CANCELS:
            self.cancel_req[whole.MessageIDBeingRespondedTo or 0] = whole
        else:
            self.msg_queue.put((message.context_id or 0, whole))
        message.encoded_command_set, message.data_set = BytesIO(), BytesIO()

    def too_long(self) -> bool:
        """Whether the message that is coming is longer than any that is asked for."""
        message = self.message
        if message is None:
            return False
        return size_of_data_set(message) > LARGEST_IN_MEMORY or message.encoded_command_set.tell() > LARGEST_COMMAND

    def refuse(self, why: str) -> None:
        """Abort the association."""
        log.warning("message_refused", why=why, calling_ae_title=self.assoc.requestor.ae_title)
        self.abandon()
        self.dul.event_queue.put("Evt19")

    def abandon(self) -> None:
        """Let go of a message that will not be completed; for the thread that receives."""
        self.message = None


def _is_report(message: DimseServiceType) -> bool:
    return isinstance(message, N_EVENT_REPORT) and message.is_valid_request


def size_of_data_set(message: DIMSEMessage) -> int:
    """Bytes that have come."""
    return message.data_set.tell() if message.data_set is not None else 0
