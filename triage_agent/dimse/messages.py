"""How messages come together from fragments: of bounded length, in bounded time, a C-STORE's data set in no memory.

pynetdicom collects a message's data set in memory, as long as the peer likes. Here a C-STORE's goes on to whoever keeps
it, fragment by fragment, in the thread that reads the connection: a disk that is slow slows the sender down by TCP.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from triage_agent.dimse.inbox import LARGEST_IN_MEMORY, Inbox, size_of_data_set

WAIT_SECONDS = 0.25  # how long a reactor sleeps when nothing wakes it, that is how late it sees a timer
_MOST_WAITING = 8  # requests a peer has sent without waiting for answers; more than one was not negotiated
_IS_COMMAND, _IS_LAST = 0x01, 0x02  # bits of a fragment's message control header (PS3.8 section E.2)


class Incoming(Protocol):
    """A data set while it comes."""

    @property
    def size(self) -> int:
        """Bytes that came."""

    def write(self, fragment: memoryview) -> int:
        """Take the next fragment, whose bytes are valid only until this returns; returns how many they were."""

    def close(self) -> None:
        """Let go of what was not kept; doing it again does nothing."""


class Begin(Protocol):
    """Makes room for a C-STORE's data set that is about to come."""

    def __call__(self, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, source: str) -> Incoming:
        """Raises nothing: what cannot be kept is told of once the message is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a message may be like.

    Attributes:
        begin: where a C-STORE's data set goes.
        largest: bytes of a C-STORE's data set.
        slowest: bytes a second that must come on average once `grace` seconds have passed; 0 for no limit. Our own
            time to write them does not count.
    """

    begin: Begin
    largest: int
    slowest: float
    grace: float


class _Passing(BytesIO):
    """Stands where pynetdicom collects a data set, and passes its fragments on."""

    def __init__(self, incoming: Incoming) -> None:
        super().__init__()
        self.incoming = incoming

    def write(self, fragment: Any) -> int:
        return self.incoming.write(fragment)

    def tell(self) -> int:
        return self.incoming.size


def incoming_of(request: object) -> Incoming | None:
    """Where the data set of a C-STORE request went; None for anything else, and for one without a data set."""
    data_set = request.DataSet if isinstance(request, C_STORE) else None
    return data_set.incoming if isinstance(data_set, _Passing) else None


class Messages(Inbox):
    """Assembles messages, and aborts over one that makes no sense."""

    def __init__(self, assoc: Association, terms: Terms, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(assoc)
        self._terms = terms
        self._monotonic = monotonic
        self._waited_since = 0.0  # when the message began, later by the time that we took ourselves
        self._lock = threading.Lock()
        self._ended = False

    def get_msg(self, block: bool = False) -> Any:
        """The next message; the reactor, which asks without `block`, sleeps here until there is something to do."""
        if block:
            return super().get_msg(block=True)
        try:
            return self.msg_queue.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take up a P-DATA; anything wrong with it aborts the association (PS3.8 section 9.2.3, AA-8)."""
        self.receive(primitive.presentation_data_value_list)

    def receive(self, values: Sequence[tuple[int, Any]]) -> bool:
        """As `receive_primitive`, for a PDU's fragments; whether a data set is coming, so that more of it is next."""
        came, before = self._monotonic(), self.message
        if self._too_slow(came):
            self.refuse("message too slow")
            return False
        try:
            for value in values:
                self._take(value)
        except Exception as error:  # noqa: BLE001 - strangers' input must not end a thread with a traceback
            self.refuse(type(error).__name__)
            return False
        now = self._monotonic()
        self._waited_since = now if self.message is not before else self._waited_since + now - came
        if self.too_long():
            self.refuse("message too long")
        elif not self.msg_queue.empty() and self._too_many_waiting():
            self.refuse("requests without waiting for answers")
        if self._ended:
            self.end()
        return self.message is not None and isinstance(self.message.data_set, _Passing)

    def abandon(self) -> None:
        """Let go of a message that will not be completed; for the thread that receives."""
        message, self.message = self.message, None
        if message is not None and isinstance(message.data_set, _Passing):
            message.data_set.incoming.close()

    def end(self) -> None:
        """Let go of messages that nobody will serve, also of those that still come; safe to call from any thread."""
        with self._lock:
            self._ended = True
            while True:
                try:
                    _, request = self.msg_queue.get_nowait()
                except queue.Empty:
                    return
                if (incoming := incoming_of(request)) is not None:
                    incoming.close()

    def _take(self, value: tuple[int, Any]) -> None:
        """One fragment; the first of a data set begins where it is kept, and all but the last go there from here."""
        message = self.message
        if message is not None and isinstance(message.data_set, _Passing):
            control = value[1][0]
            if control & _IS_COMMAND:
                raise ValueError("a command in the middle of a data set")
            if not control & _IS_LAST:
                message.data_set.incoming.write(value[1][1:])
                return
        self.collect(value)
        message = self.message
        if isinstance(message, C_STORE_RQ) and not isinstance(message.data_set, _Passing):
            message.data_set = _Passing(self._begin(message))

    def _begin(self, message: C_STORE_RQ) -> Incoming:
        """Called between a request's command set and its data set.

        Raises:
            KeyError: the presentation context was not accepted.
        """
        context = self.assoc._accepted_cx[message.context_id or 0]  # noqa: SLF001 - its public twin copies every context
        command = message.command_set
        return self._terms.begin(
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            sop_class_uid=str(command.get("AffectedSOPClassUID", "")),
            sop_instance_uid=str(command.get("AffectedSOPInstanceUID", "")),
            source=str(self.assoc.requestor.ae_title).strip(),
        )

    def _too_slow(self, now: float) -> bool:
        terms = self._terms
        if not terms.slowest or self.message is None:
            return False
        return now - self._waited_since > terms.grace + _size(self.message) / terms.slowest

    def too_long(self) -> bool:
        """See `Inbox.too_long`; a C-STORE's data set may be as long as the terms say."""
        if self.message is not None and isinstance(self.message.data_set, _Passing):
            return size_of_data_set(self.message) > self._terms.largest
        return super().too_long()

    def _too_many_waiting(self) -> bool:
        with self.msg_queue.mutex:
            waiting = [request for _, request in self.msg_queue.queue if request is not None]
        if len(waiting) > _MOST_WAITING:
            return True
        # `_dataset` is what a request of any kind calls by another name; one that was passed on is empty here.
        held = [each for request in waiting if isinstance(each := getattr(request, "_dataset", None), BytesIO)]
        return sum(each.getbuffer().nbytes for each in held) > LARGEST_IN_MEMORY


def _size(message: DIMSEMessage) -> int:
    return size_of_data_set(message) + message.encoded_command_set.tell()
