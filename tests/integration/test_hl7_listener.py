"""The listener for orders, on sockets: who may send, how long anything may take, and how it ends."""

import socket
import threading
import time

import pytest
from support.associations import eventually
from support.hl7 import Ris, merge, omi, said
from support.listener import utc_now

from triage_agent.hl7in.desk import Hl7Desk
from triage_agent.hl7in.listener import ListenTerms, MllpListener
from triage_agent.worklist import MemoryWorklist


class Listening:
    def __init__(self, desk=None, **terms):
        self.worklist = MemoryWorklist()
        self.rejected = []
        values = {"admits": lambda _address: True, "rejected": self.rejected.append, **terms}
        self.listener = MllpListener(
            ListenTerms(host="127.0.0.1", port=0, **values), desk or Hl7Desk(self.worklist, utc_now)
        )
        self.listener.start()

    @property
    def port(self):
        return self.listener.port

    def connections(self):
        return [thread for thread in self.listener._open if thread.is_alive()]


@pytest.fixture
def listen():
    made = []

    def make(**terms):
        made.append(Listening(**terms))
        return made[-1]

    yield make
    for each in made:
        each.listener.stop(2)
        assert eventually(lambda each=each: not each.connections())


def test_messages_are_answered_in_their_order_on_one_connection(listen):
    listening = listen()
    with Ris(listening.port) as ris:
        for number in range(5):
            message = omi("IPC", control_id=f"M{number}").replace(b"|F1|", f"|F{number}|".encode())
            assert said(ris.send(message)) == ("AA", f"M{number}", "")
    assert len(listening.worklist.orders()) == 5


def test_messages_that_come_at_once_or_in_pieces_are_answered_one_by_one(listen):
    with Ris(listen().port) as ris:
        both = b"\x0b" + omi(control_id="M1") + b"\x1c\r\x0b" + merge("M2") + b"\x1c\r"
        for at in range(0, len(both), 100):
            ris.connection.sendall(both[at : at + 100])
        assert [said(ris.hear())[1] for _ in range(2)] == ["M1", "M2"]


def test_an_address_that_is_not_known_is_hung_up_on_and_told_of(listen):
    listening = listen(admits=lambda _address: False)
    with Ris(listening.port) as ris:
        assert ris.send(omi()) is None
    assert eventually(lambda: listening.rejected == ["127.0.0.1"])
    assert listening.worklist.orders() == []


def test_a_message_that_drips_in_is_given_up(listen):
    listening = listen(timeout_seconds=0.5)
    with Ris(listening.port) as ris:
        began = time.monotonic()
        ris.connection.sendall(b"\x0bMSH")
        try:
            while time.monotonic() - began < 60 and listening.connections():
                ris.connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        assert eventually(lambda: not listening.connections())


def test_a_connection_that_is_silent_between_messages_is_kept(listen):
    listening = listen(timeout_seconds=0.3)
    with Ris(listening.port) as ris:
        assert said(ris.send(omi()))[0] == "AA"
        time.sleep(1)
        assert said(ris.send(merge()))[0] == "AA"


def test_a_message_that_is_too_long_is_refused_by_its_number_and_the_connection_ends(listen):
    with Ris(listen(longest=2000).port) as ris:
        answer = ris.send(omi() + b"NTE|" + b"x" * 4000)
        assert said(answer) == ("AR", "M1", "100")
        assert ris.hear() is None


def test_what_speaks_another_protocol_is_hung_up_on(listen):
    with Ris(listen(longest=2000).port) as ris:
        ris.connection.sendall(b"GET / HTTP/1.1\r\n" * 200)
        assert ris.hear() is None


def test_beyond_so_many_connections_the_one_silent_the_longest_is_closed(listen):
    listening = listen(max_connections=2)
    with Ris(listening.port) as first, Ris(listening.port) as second:
        for ris, number in ((first, "M1"), (second, "M2")):
            assert said(ris.send(omi(control_id=number)))[0] == "AA"
        assert eventually(lambda: all(one.is_idle for one in listening.connections()))
        with Ris(listening.port) as third:
            assert said(third.send(omi(control_id="M3")))[0] == "AA"
            assert first.hear() is None
            assert said(second.send(omi(control_id="M4")))[0] == "AA"


class SlowDesk:
    """Answers when it is told to."""

    def __init__(self):
        self.asked, self.go = threading.Event(), threading.Event()

    def answer(self, frame):
        self.asked.set()
        self.go.wait(240)
        return b"MSH|^~\\&|\rMSA|AA|M1\r"

    def refuse(self, beginning, error):
        return None


def test_a_message_in_hand_is_answered_at_the_stop_and_no_connection_is_left(listen):
    desk = SlowDesk()
    listening = listen(desk=desk)
    with Ris(listening.port) as ris, Ris(listening.port) as idle:
        ris.connection.sendall(b"\x0b" + omi() + b"\x1c\r")
        assert desk.asked.wait(60)
        ending = threading.Thread(target=listening.listener.stop, args=[60])
        ending.start()
        assert idle.hear() is None
        desk.go.set()
        assert said(ris.hear()) == ("AA", "M1", "")
        ending.join(60)
        assert not ending.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", listening.port), 60)


def test_a_busy_listener_refuses_who_comes_too_many(listen):
    desk = SlowDesk()
    listening = listen(desk=desk, max_connections=1)
    with Ris(listening.port) as ris:
        ris.connection.sendall(b"\x0b" + omi() + b"\x1c\r")
        assert desk.asked.wait(60)
        with Ris(listening.port) as late:
            assert late.hear() is None
        desk.go.set()
        assert said(ris.hear())[0] == "AA"
