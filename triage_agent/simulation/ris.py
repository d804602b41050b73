"""A RIS for demonstrations and tests: takes HL7 v2 messages over MLLP and acknowledges them."""

import socketserver
import threading
from collections.abc import Callable

_START, _END = b"\x0b", b"\x1c\r"
_CHUNK = 65536


class SimulatedRis:
    """An MLLP receiver on loopback that keeps every message and answers AA."""

    def __init__(self) -> None:
        self.port = 0
        self._messages: list[str] = []
        self._lock = threading.Lock()
        self._server: socketserver.ThreadingTCPServer | None = None

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1, which `port` then names."""
        self._server = server = _MllpServer(self._keep)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, name="ris", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; the messages stay readable."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def messages(self) -> list[str]:
        """Every message, in the order of arrival."""
        with self._lock:
            return list(self._messages)

    def _keep(self, message: str) -> None:
        with self._lock:
            self._messages.append(message)


class _MllpServer(socketserver.ThreadingTCPServer):
    """Gives every connection's handler the place where messages go."""

    daemon_threads = True

    def __init__(self, keep: Callable[[str], None]) -> None:
        self.keep = keep
        super().__init__(("127.0.0.1", 0), _MllpHandler)


class _MllpHandler(socketserver.BaseRequestHandler):
    """One connection: frames in, acknowledgements out."""

    server: _MllpServer

    def handle(self) -> None:
        buffer = b""
        while chunk := self.request.recv(_CHUNK):
            buffer += chunk
            while _END in buffer:
                frame, buffer = buffer.split(_END, 1)
                message = frame.lstrip(_START).decode("utf-8", "replace")
                self.server.keep(message)
                self.request.sendall(_START + acknowledge(message).encode() + _END)


def acknowledge(message: str) -> str:
    """The application accept (AA) for a message, with its control id in MSA-2 (HL7 v2 section 2.9.2)."""
    msh = message.split("\r", 1)[0].split("|")
    control_id = msh[9] if len(msh) > 9 else ""  # noqa: PLR2004 - MSH-10, counting the separator as MSH-1
    return f"MSH|^~\\&|RIS|DEMO|TRIAGE|DEMO|{msh[6]}||ACK|{control_id}A|P|2.5.1\rMSA|AA|{control_id}\r"
