"""HL7 v2 messages by MLLP (HL7 v2.5.1 implementation guide, appendix C): one connection, one message at a time.

What answers a message follows from its MSH-15 and MSH-16 (chapter 2.9). Without them, or where the receiver knows the
original mode only, it is AA, AE or AR. With them it is CA, CE or CR first, and then AA, AE or AR where MSH-16 asks for
that; an answer that asks for an accept acknowledgement of its own is given one.
The peer's free text (MSA-3, ERR-8) is never repeated: it may quote the patient. Codes are.
"""

import contextlib
import select
import socket
import ssl
import threading
import time

from triage_agent.delivery.acknowledgement import Acknowledgement, acknowledge, asks_for, parse_acknowledgement
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import ConfigurationError, DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind, Family

_START, _END = b"\x0b", b"\x1c\r"
_FAREWELL_SECONDS = 1.0  # for a thread to notice that its connection was cut
_REFUSAL_SECONDS = 0.5
_LONGEST_ANSWER = 1 << 20  # bytes; an acknowledgement has some hundreds
_TAKEN = frozenset({"CA"})  # table 0008
_ACCEPTED = _TAKEN | {"AA"}
_ERROR = frozenset({"AE", "CE"})
_REJECTED = frozenset({"AR", "CR"})


class MllpTransport:
    """Sends a message and waits for its acknowledgement; the connection is kept, and made again when it has gone."""

    kinds = frozenset(kind for kind in ArtifactKind if kind.family is Family.HL7_MESSAGE)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()  # an answer belongs to the one message that waits for it
        self._closings = 0  # a message that was begun before the last one connects no more

    def send(self, artifact: Artifact) -> None:
        """Send one message; see `Transport.send`.

        Raises:
            DeliveryError: permanent for AR and CR; AE, CE, silence, a lost connection or an answer to another message
                may be mended by a retry.
        """
        closings = self._closings
        with self._lock:
            try:
                self._judge(self._exchange(artifact.body, closings), asks_for(artifact.body).control_id)
            except OSError as error:
                self._drop()
                raise self._away(error) from error
            except ConfigurationError as error:
                raise DeliveryError(error.message, permanent=False, remedy=error.remedy, away=True) from error
            except DeliveryError:
                self._drop()
                raise

    def check(self) -> str:
        """Connect and hang up; HL7 has no question that asks for nothing."""
        try:
            with self._connect() as connection:
                if isinstance(connection, ssl.SSLSocket):
                    _wait_for_refusal(connection)
        except OSError as error:
            raise self._away(error) from error
        return f"connected to {self._endpoint}"

    def close(self) -> None:
        """Hang up; the next message connects again.

        A message that waits for its answer is not waited for: it fails in a way that a retry may mend.
        """
        self._closings += 1
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                # Under TLS, too: its own way would change what another thread uses. Whoever waits wakes up.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        if self._lock.acquire(timeout=_FAREWELL_SECONDS):
            try:
                self._drop()
            finally:
                self._lock.release()

    def _exchange(self, body: bytes, closings: int) -> Acknowledgement:
        """One message and its answer; once more on a new connection if the kept one turns out to have been closed."""
        kept = self._connection
        if kept is not None and _has_gone(kept):
            self._drop()
        if self._connection is not None:
            try:
                return self._ask(self._connection, body)
            except (ConnectionError, ssl.SSLEOFError, EOFError):
                self._drop()
        if self._closings != closings:
            raise DeliveryError(f"we hung up on {self._endpoint} before it answered", permanent=False)
        self._connection = self._connect()
        try:
            return self._ask(self._connection, body)
        except EOFError:
            raise DeliveryError(
                f"{self._endpoint} closed the connection without an answer", permanent=False, away=True
            ) from None

    def _ask(self, connection: socket.socket, body: bytes) -> Acknowledgement:
        deadline = time.monotonic() + self._endpoint.answer_seconds
        asked = asks_for(body)
        connection.settimeout(self._endpoint.answer_seconds)
        connection.sendall(_START + body + _END)
        received = bytearray()
        said = self._answer(connection, received, deadline)
        if said.code in _TAKEN and asked.application and said.control_id == asked.control_id:
            said = self._answer(connection, received, deadline)
            if said.wants_accept:
                connection.sendall(_START + acknowledge(said) + _END)
        if received:  # nobody asked for it, and its rest would stand before the next answer
            self._drop()
        return said

    def _answer(self, connection: socket.socket, received: bytearray, deadline: float) -> Acknowledgement:
        """The next frame; what came behind it stays in `received`."""
        while _END not in received:
            if len(received) > _LONGEST_ANSWER:
                raise DeliveryError(f"{self._endpoint} does not speak MLLP: its answer has no end", permanent=False)
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = connection.recv(65536)
            if not chunk:
                raise EOFError
            received += chunk
        end = received.index(_END)
        frame = bytes(received[:end])
        del received[: end + len(_END)]
        return parse_acknowledgement(frame)

    def _judge(self, said: Acknowledgement, control_id: str) -> None:
        if said.code not in _ACCEPTED | _ERROR | _REJECTED:
            raise DeliveryError(f"{self._endpoint} did not answer with an acknowledgement", permanent=False)
        if said.control_id != control_id:
            raise DeliveryError(f"{self._endpoint} acknowledged another message", permanent=False)
        if said.code in _ACCEPTED:
            return
        code = f", error {said.error_code}" if said.error_code else ""
        if said.code in _REJECTED:
            raise DeliveryError(
                f"{self._endpoint} rejected the message ({said.code}{code})",
                permanent=True,
                remedy="see the receiver's log, mend its interface, and retry",
            )
        raise DeliveryError(f"{self._endpoint} could not process the message ({said.code}{code})", permanent=False)

    def _connect(self) -> socket.socket:
        address = (self._endpoint.host, self._endpoint.port)
        connection = socket.create_connection(address, timeout=self._endpoint.connect_seconds)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._endpoint.secured is None:
            return connection
        return self._endpoint.secured.secure(connection, self._endpoint.host, self._endpoint.connect_seconds)

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _away(self, error: OSError) -> DeliveryError:
        what, remedy = _trouble(error)
        return DeliveryError(f"{self._endpoint}: {what}", permanent=False, remedy=remedy, away=True)


def _wait_for_refusal(connection: ssl.SSLSocket) -> None:
    """By TLS 1.3 hands are shaken before the peer has looked at our certificate: it says only then what it thinks.

    Raises:
        OSError: it does not take our certificate.
    """
    connection.settimeout(_REFUSAL_SECONDS)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)


def _trouble(error: OSError) -> tuple[str, str]:
    """What the network says in a reader's words, and what to look at."""
    running = "check that the peer is running, and its host and port"
    match error:
        case TimeoutError():
            return "did not answer in time", running
        case ConnectionRefusedError():
            return "no connection (refused)", running
        case ssl.SSLEOFError():
            return "TLS failed (the peer hung up)", "see the peer's log: it may want a certificate of ours"
        case ssl.SSLError():
            return (
                f"TLS failed ({trouble(error)})",
                "check the certificates on both sides, and that the port speaks TLS",
            )
        case socket.gaierror():
            return "the host's name is not known", "check the peer's host"
        case _:
            return f"no connection ({error.strerror or type(error).__name__})".lower(), running


def _has_gone(connection: socket.socket) -> bool:
    """Whether an idle connection was closed, or holds something that nobody asked for.

    `poll`, since `select` fails beyond descriptor 1023.
    """
    poller = select.poll()
    try:
        poller.register(connection, select.POLLIN)
    except ValueError:  # it is closed on our side too
        return True
    return bool(poller.poll(0)) or (isinstance(connection, ssl.SSLSocket) and connection.pending() > 0)
