"""Callers that come in crowds, say half of what they want, or take nothing: each has its end, and others are served."""

import asyncio
import errno
import socket
import ssl
import time
from contextlib import ExitStack, suppress

import pytest
from fastapi import Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from structlog.testing import capture_logs
from support.agent import eventually
from support.certificates import Authority
from websockets.sync.client import connect

from triage_agent.web import door
from triage_agent.web.app import build_app
from triage_agent.web.server import ServerTls, WebServer

HALF = b"GET /metrics HTTP/1.1\r\nX: "
WHOLE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"
TIME = 0.4  # seconds, in place of each of the longer ones
WAIT = 10.0  # far above it, and far below those that hold without it


def app():
    made = build_app({}, lambda: b"metric 1\n", "9.9")

    @made.post("/takes")
    async def takes(request: Request):
        return PlainTextResponse(await request.body())

    @made.post("/refuses")
    async def refuses():
        return PlainTextResponse("no", status_code=413)

    @made.get("/much")
    async def much():
        return PlainTextResponse(bytes(64 << 20))

    @made.get("/stream")
    async def stream():
        async def events():
            for number in range(8):
                yield f"{number}\n"
                await asyncio.sleep(TIME / 2)

        return StreamingResponse(events())

    @made.websocket("/echo")
    async def echo(channel: WebSocket):
        await channel.accept()
        await channel.send_text(await channel.receive_text())

    return made


@pytest.fixture
def port(free_port, monkeypatch):
    for name in ("_HEAD_SECONDS", "_BODY_SECONDS", "_REST_SECONDS", "_TAKE_SECONDS"):
        monkeypatch.setattr(door, name, TIME)
    server = WebServer(app(), "127.0.0.1", free_port)
    server.start()
    yield free_port
    server.stop()


def open_connection(port):
    return socket.create_connection(("127.0.0.1", port), WAIT)


def is_ended(connection):
    """Whether the agent hangs up, whatever it has said before."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def drip(connection):
    """Say a byte after the other; whether the agent ends it."""
    deadline = time.monotonic() + WAIT
    try:
        while time.monotonic() < deadline:
            connection.sendall(b"x")
            time.sleep(TIME / 8)
    except ConnectionError:
        return True
    return False


def answer(connection):
    connection.sendall(WHOLE)
    said = b""
    while not said.endswith(b"metric 1\n") and (piece := connection.recv(1 << 16)):
        said += piece
    return said


@pytest.mark.parametrize("said", [b"", HALF])
def test_who_does_not_end_its_request_is_hung_up_on(port, said):
    with open_connection(port) as connection:
        connection.sendall(said)
        assert is_ended(connection)


def test_headers_that_come_drop_by_drop_have_no_more_time(port):
    with open_connection(port) as connection:
        connection.sendall(HALF)
        assert drip(connection)


def test_the_half_of_a_second_request_is_not_waited_for_either(port):
    with open_connection(port) as connection:
        assert answer(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(HALF)
        began = time.monotonic()
        assert is_ended(connection)
        assert time.monotonic() - began < 4 * TIME  # uvicorn's five seconds are of who says nothing


def test_a_body_that_stops_coming_ends_the_connection(port):
    with open_connection(port) as connection:
        connection.sendall(POST % b"takes" + b"abc")
        assert is_ended(connection)


def test_a_body_that_goes_on_coming_may_take_its_time(port):
    with open_connection(port) as connection:
        connection.sendall(POST % b"takes")
        for piece in (b"a", b"b", b"c", b"d", b"e", b"f"):
            time.sleep(TIME / 2)
            connection.sendall(piece)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_the_rest_of_a_body_that_was_answered_already_has_no_more_time(port):
    with open_connection(port) as connection:
        connection.sendall(POST.replace(b"6", b"9999") % b"refuses")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")
        assert drip(connection)


def test_an_answer_that_nobody_takes_ends_the_connection(port):
    with open_connection(port) as connection:
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(4 * TIME)
        taken = 0
        with suppress(ConnectionError):
            while piece := connection.recv(1 << 20):
                taken += len(piece)
        assert taken < 64 << 20


def test_an_answer_that_is_taken_slowly_comes_whole(port):
    with open_connection(port) as connection:
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        taken = 0
        while piece := connection.recv(1 << 20):
            if taken % (8 << 20) > (taken + len(piece)) % (8 << 20):
                time.sleep(TIME / 2)
            taken += len(piece)
        assert taken > 64 << 20


def test_streams_and_websockets_live_longer_than_any_wait(port):
    with connect(f"ws://127.0.0.1:{port}/echo") as channel, open_connection(port) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        while piece := connection.recv(1 << 16):
            said += piece
        assert b"\n7\n" in said
        channel.send("still there")
        assert channel.recv(timeout=WAIT) == "still there"


def test_so_many_are_let_in_and_who_comes_after_one_has_gone(free_port, monkeypatch):
    monkeypatch.setattr(door, "CONNECTIONS", 3)
    server = WebServer(app(), "127.0.0.1", free_port)
    server.start()
    try:
        with ExitStack() as stack:
            inside = [stack.enter_context(open_connection(free_port)) for _ in range(3)]
            assert all(answer(one).startswith(b"HTTP/1.1 200") for one in inside)
            assert is_ended(stack.enter_context(open_connection(free_port)))
            assert answer(inside[0]).startswith(b"HTTP/1.1 200")
            inside.pop().close()
            deadline, said = time.monotonic() + WAIT, b""
            while not said and time.monotonic() < deadline:
                with open_connection(free_port) as late:
                    try:
                        said = answer(late)
                    except ConnectionError:
                        time.sleep(0.05)
            assert said.startswith(b"HTTP/1.1 200")
    finally:
        server.stop()


def test_a_handshake_of_tls_that_does_not_end_is_not_waited_for(free_port, monkeypatch, tmp_path):
    monkeypatch.setattr(door, "HANDSHAKE_SECONDS", TIME)
    files = Authority(tmp_path).files("web")
    server = WebServer(app(), "127.0.0.1", free_port, ServerTls(certificate=files.certificate, key=files.key))
    server.start()
    try:
        with open_connection(free_port) as silent, open_connection(free_port) as halting:
            halting.sendall(b"\x16\x03\x01\x02\x00")  # the header of a record that does not come
            assert is_ended(silent)
            assert is_ended(halting)
        trusting = ssl.create_default_context(cafile=files.ca)
        with open_connection(free_port) as plain, trusting.wrap_socket(plain, server_hostname="localhost") as channel:
            assert answer(channel).startswith(b"HTTP/1.1 200")
    finally:
        server.stop()


def test_one_address_leaves_the_others_some_places(free_port, monkeypatch):
    monkeypatch.setattr(door, "CONNECTIONS", 4)
    monkeypatch.setattr(door, "OF_ONE_ADDRESS", 2)
    server = WebServer(app(), "127.0.0.1", free_port)
    server.start()
    try:
        with ExitStack() as stack:
            greedy = [stack.enter_context(open_connection(free_port)) for _ in range(2)]
            assert all(answer(one).startswith(b"HTTP/1.1 200") for one in greedy)
            with capture_logs() as logs:
                assert is_ended(stack.enter_context(open_connection(free_port)))
                line = eventually(lambda: next((one for one in logs if "its_number" in one), None))
            assert (line["limit"], line["most_by"], line["its_number"]) == (2, "127.0.0.1", 2)
            other = socket.create_connection(("127.0.0.1", free_port), timeout=WAIT, source_address=("127.0.0.2", 0))
            assert answer(stack.enter_context(other)).startswith(b"HTTP/1.1 200")
            assert answer(greedy[0]).startswith(b"HTTP/1.1 200")
    finally:
        server.stop()


def test_addresses_of_one_network_and_both_forms_of_an_address_are_one(monkeypatch):
    monkeypatch.setattr(door, "CONNECTIONS", 9)
    monkeypatch.setattr(door, "OF_ONE_ADDRESS", 2)
    callers = iter(["2001:db8::1", "2001:db8::2", "2001:db8::3", "::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2"])
    ends = [socket.socketpair() for _ in range(7)]
    waiting = iter(ends)
    monkeypatch.setattr(socket.socket, "accept", lambda _self: (next(waiting)[0], (next(callers), 1)))
    with ExitStack() as stack, door.Entrance(socket.AF_INET) as entrance:
        for both in ends:
            stack.callback(both[1].close)
            stack.callback(both[0].close)
        taken = []
        for _ in ends:
            try:
                entrance.accept()
                taken.append(True)
            except ConnectionAbortedError:
                taken.append(False)
    assert taken == [True, True, False, True, True, False, True]


def test_without_files_left_nobody_is_accepted_for_a_moment_and_then_it_is_tried_again(monkeypatch):
    tried = []

    def fails(_self):
        tried.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(door.Entrance, "_accept", fails, raising=False)
    monkeypatch.setattr(door, "_SHUT_SECONDS", 0.2)
    with door.Entrance(socket.AF_INET) as entrance:
        with pytest.raises(OSError, match="Too many"):
            entrance.accept()
        for _ in range(2048):
            with pytest.raises(BlockingIOError):
                entrance.accept()
        time.sleep(0.25)
        with pytest.raises(OSError, match="Too many"):
            entrance.accept()
    assert len(tried) == 2
