"""TLS handshakes that end in time."""

import select
import socket
import ssl
import time


def take_over(
    connection: socket.socket, context: ssl.SSLContext, *, server_hostname: str | None = None
) -> ssl.SSLSocket:
    """The connection for TLS, on which hands are not shaken yet; with `server_hostname` we are the client.

    Raises:
        OSError: the peer has gone; the connection is closed then.
    """
    try:
        connection.settimeout(0.0)
        return context.wrap_socket(
            connection,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
    except BaseException:
        connection.close()
        raise


def shake_hands(secured: ssl.SSLSocket, seconds: float) -> None:
    """Shake hands within `seconds` in all: a socket's own timeout would begin anew with each byte that drips in.

    Raises:
        OSError: it failed (`ssl.SSLError`), or took too long (`TimeoutError`); the connection is closed then.
    """
    deadline = time.monotonic() + seconds
    try:
        while (wanted := _step(secured)) is not None:
            _wait(secured, wanted, deadline - time.monotonic())
        secured.settimeout(seconds)
    except BaseException:
        secured.close()
        raise


def _step(secured: ssl.SSLSocket) -> int | None:
    """Go on with the handshake; what to wait for before the next step, None when it is done."""
    try:
        secured.do_handshake()
    except ssl.SSLWantReadError:
        return select.POLLIN
    except ssl.SSLWantWriteError:
        return select.POLLOUT
    return None


def _wait(secured: ssl.SSLSocket, wanted: int, seconds: float) -> None:
    poller = select.poll()
    poller.register(secured, wanted)
    if seconds <= 0 or not poller.poll(seconds * 1000):
        raise TimeoutError("the handshake was not finished in time")
