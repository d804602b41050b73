"""TLS handshakes that end in time."""

import select
import socket
import ssl
import time


def shake_hands(
    connection: socket.socket, context: ssl.SSLContext, seconds: float, *, server_hostname: str | None = None
) -> ssl.SSLSocket:
    """The connection with TLS on it; with `server_hostname` we are the client.

    The whole handshake has `seconds`: a socket's own timeout would begin anew with each byte that drips in.

    Raises:
        OSError: it failed (`ssl.SSLError`), or took too long (`TimeoutError`); the connection is closed then.
    """
    deadline = time.monotonic() + seconds
    try:
        connection.settimeout(0.0)
        secured = context.wrap_socket(
            connection,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
    except BaseException:
        connection.close()
        raise
    try:
        while (wanted := _step(secured)) is not None:
            _wait(secured, wanted, deadline - time.monotonic())
        secured.settimeout(seconds)
    except BaseException:
        secured.close()
        raise
    return secured


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
