"""Peers over HTTP that drip, hang or talk without end: every exchange ends in time."""

import contextlib
import select
import socket
import threading
import time

import pytest

from triage_agent.delivery.endpoint import Endpoint, HttpAccess
from triage_agent.delivery.http import HttpClient
from triage_agent.domain.errors import DeliveryError

WAIT = 0.25


def drip(connection, *, before=b""):
    connection.sendall(before)
    for _ in range(3000):
        connection.sendall(b"x")
        time.sleep(0.02)


def say_nothing(connection):
    """Until the other side hangs up, without reading what it sends."""
    look = select.poll()
    look.register(connection, select.POLLRDHUP)
    look.poll(60_000)


@contextlib.contextmanager
def serving(how):
    """A server that does `how` with every connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def one(connection):
        with connection, contextlib.suppress(OSError):
            how(connection)

    def run():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def client(port, *, secure=False, seconds=WAIT):
    access = HttpAccess(secure=secure)
    return HttpClient(Endpoint(host="127.0.0.1", port=port, connect_seconds=WAIT, answer_seconds=seconds, http=access))


DRIPPING = {
    "a status line": drip,
    "a header": lambda connection: drip(connection, before=b"HTTP/1.1 200 OK\r\nX-Y: "),
    "a body": lambda connection: drip(connection, before=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    "nothing": say_nothing,
    "a request": lambda connection: drip(connection) if connection.recv(1) else None,
}


@pytest.mark.parametrize("what", DRIPPING)
@pytest.mark.parametrize("secure", [False, True])
def test_a_peer_that_drips_does_not_hold_us_for_longer_than_its_time(what, secure):
    with serving(DRIPPING[what]) as port:
        asking = client(port, secure=secure)
        started = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            asking.ask("POST", "/studies", content=(b"x" * (4 << 20),))
        asking.close()
    assert time.monotonic() - started < 30
    assert caught.value.away
    assert not caught.value.permanent


def test_closing_does_not_wait_for_an_answer_and_the_request_may_be_repeated():
    with serving(say_nothing) as port:
        asking = client(port, seconds=60)
        errors = []

        def ask():
            try:
                asking.ask("GET", "/")
            except DeliveryError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.1)
        started = time.monotonic()
        asking.close()
        thread.join(60)
    assert time.monotonic() - started < 30
    assert [error.permanent for error in errors] == [False]
