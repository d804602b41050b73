"""Whether somebody listens at an address, known within seconds, whatever the name server and the network do."""

import queue
import socket
import threading

from triage_agent.domain.errors import TriageError

CONNECT_SECONDS = 5.0  # to find the host's address and to connect, together


def connected(host: str, port: int) -> socket.socket:
    """A connection to it.

    Raises:
        TriageError: its name is unknown, it refuses, or nothing is heard for `CONNECT_SECONDS`.
    """
    came: queue.SimpleQueue[socket.socket | OSError] = queue.SimpleQueue()

    def connect() -> None:
        try:
            came.put(socket.create_connection((host, port), CONNECT_SECONDS))
        except (OSError, UnicodeError) as error:  # no name that IDNA can have is the latter
            came.put(error if isinstance(error, OSError) else OSError(0, "no name of a host"))

    # Of its own: nothing bounds how long a name is looked up.
    threading.Thread(target=connect, name="connect", daemon=True).start()
    remedy = "see that it runs, and that this machine reaches it"
    try:
        found = came.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TriageError(f"{host}:{port} is silent for {CONNECT_SECONDS:g} s", remedy=remedy) from None
    if isinstance(found, socket.gaierror):
        raise TriageError(f"there is no host {host} (name server: {found.strerror})", remedy="mend the name") from None
    if isinstance(found, TimeoutError):
        raise TriageError(f"{host}:{port} is silent for {CONNECT_SECONDS:g} s", remedy=remedy) from None
    if isinstance(found, OSError):
        raise TriageError(f"{host}:{port}: {found.strerror or type(found).__name__}", remedy=remedy) from None
    return found
