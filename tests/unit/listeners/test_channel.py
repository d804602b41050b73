"""What a listener process and the main process say to each other."""

import socket
import struct
import threading
from types import SimpleNamespace

import pytest

from triage_agent.listeners import channel as module
from triage_agent.listeners.channel import NOT_COUNTED, Channel, Seating

CT = SimpleNamespace(name="ct")


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), Channel(theirs)


def test_messages_come_whole_and_in_order(ends):
    ours, theirs = ends
    long = "x" * 1_000_000
    sender = threading.Thread(target=lambda: [ours.tell(text=text) for text in ("a", long, "b")])
    sender.start()
    assert [theirs.hear()["text"] for _ in range(3)] == ["a", long, "b"]
    sender.join()


def test_the_end_is_told_apart_from_a_message(ends):
    ours, theirs = ends
    ours.close()
    with pytest.raises(EOFError):
        theirs.hear()
    theirs.tell(nobody="hears")  # and nothing is raised


def test_a_message_that_is_longer_than_any_is_not_read(ends):
    ours, theirs = ends
    ours._connection.sendall(struct.pack(">I", module._LARGEST + 1))
    with pytest.raises(OSError, match="longer"):
        theirs.receive()


@pytest.mark.parametrize("refused", [None, "too many associations of this peer"])
def test_a_seat_is_asked_for_and_the_answer_is_the_main_process_s(ends, refused):
    ours, theirs = ends
    seating, answers = Seating(ours, lambda: None), []
    asking = threading.Thread(target=lambda: answers.append(seating.enter([CT], object())))
    asking.start()
    asked = theirs.hear()
    theirs.tell(seat=asked["enter"] - 1, refused="an answer that came too late")
    theirs.tell(seat=asked["enter"], refused=refused)
    asking.join()
    assert (asked["peers"], answers) == (["ct"], [refused])


def test_nobody_is_let_in_while_the_main_process_does_not_answer(ends, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.05)
    ours, theirs = ends
    assert Seating(ours, lambda: None).enter([CT], object()) == NOT_COUNTED
    asked = theirs.hear()
    assert theirs.hear() == {"leave": asked["enter"]}  # should it be counted after all


def test_the_main_process_s_end_is_told(ends):
    ours, theirs = ends
    gone = threading.Event()
    Seating(ours, gone.set)
    theirs.close()
    assert gone.wait(30)
