"""What the agent's main process and a listener process say to each other: bytes, with their length before them."""

import json
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from itertools import count
from struct import Struct
from typing import Any

import structlog

from triage_agent.dimse.association import GuardedAssociation
from triage_agent.dimse.peers import Peer

log = structlog.get_logger(__name__)

NOT_COUNTED = "the agent's main process does not answer"

_LENGTH = Struct(">I")
_LARGEST = 16 << 20  # bytes; a thousand times what is ever said
_ANSWER_SECONDS = 5.0

Message = dict[str, Any]


class Channel:
    """One end of a socket pair. Safe to send on from many threads; one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: bytes) -> None:
        """Raises OSError where the other end is gone."""
        with self._sending:
            self._connection.sendall(_LENGTH.pack(len(message)) + message)

    def receive(self) -> bytes:
        """The next message.

        Raises:
            EOFError: the other end is gone.
            OSError: the same, or it speaks nonsense.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > _LARGEST:
            raise OSError("a message that is longer than any")
        return self._read(length)

    def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            if not (piece := self._connection.recv(size - len(read))):
                raise EOFError
            read += piece
        return bytes(read)

    def tell(self, **message: object) -> None:
        """As `send`, in JSON; nobody hears it where the other end is gone."""
        try:
            self.send(json.dumps(message).encode())
        except OSError:
            log.debug("other_process_gone")

    def hear(self) -> Message:
        """As `receive`, in JSON."""
        heard: Message = json.loads(self.receive())
        return heard

    def close(self) -> None:
        """Let go of it."""
        self._connection.close()


class Seating:
    """Has the main process count this process's associations with everybody's (`dimse.limits.Seats`).

    Args:
        channel: to it; nobody else receives on it.
        gone: called when the main process is.
    """

    def __init__(self, channel: Channel, gone: Callable[[], None]) -> None:
        self._channel = channel
        self._gone = gone
        self._numbers = count(1)
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="main-process", daemon=True).start()

    def enter(self, peers: Sequence[Peer], association: object) -> str | None:
        """See `Seats.enter`; nobody is let in where the main process does not answer."""
        with self._asking:
            seat = next(self._numbers)
            self._channel.tell(enter=seat, peers=[peer.name for peer in peers])
            try:
                answer = self._answers.get(timeout=_ANSWER_SECONDS)
                while answer["seat"] != seat:  # one that came too late
                    answer = self._answers.get(timeout=_ANSWER_SECONDS)
            except queue.Empty:
                self._channel.tell(leave=seat)
                return NOT_COUNTED
        reason: str | None = answer["refused"]
        if reason is None and isinstance(association, GuardedAssociation):
            association.at_end.append(lambda: self._channel.tell(leave=seat))
        return reason

    def _listen(self) -> None:
        try:
            while True:
                self._answers.put(self._channel.hear())
        except (EOFError, OSError, ValueError):
            self._gone()
