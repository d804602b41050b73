"""What signals ask of a process: in order, and also where they come while it is waited for."""

import os
import signal
import threading

import pytest

from triage_agent.ops.asked import Asked


@pytest.fixture
def asked():
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    made = Asked()
    made.on(signal.SIGUSR1, "reload")
    made.on(signal.SIGUSR2, "stop")
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_heard_in_order(asked):
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR2)
    assert [asked.next(), asked.next()] == ["reload", "stop"]


def test_a_signal_is_heard_while_it_is_waited_for(asked):
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    assert asked.next() == "stop"


def test_a_thread_may_ask_too(asked):
    threading.Thread(target=asked.put, args=("stop",)).start()
    assert asked.next() == "stop"
