"""Listener processes that cannot be started, hang or speak nonsense: it is told, and another takes their place."""

import os
import signal
import socket
import sys
import threading
import time

import pytest

from triage_agent.domain.errors import TriageError
from triage_agent.listeners import pool as module
from triage_agent.listeners.pool import ListenerPool
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings

# What the pool sees of a listener process, without its five seconds of imports; acceptance tests have the real one.
CHILD = """
import signal, socket, sys, time
from triage_agent.listeners.channel import Channel
channel = Channel(socket.socket(fileno=int(sys.argv[1])))
channel.receive()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
channel.tell(ready=True)
while True:
    channel.tell(figures=[])
    time.sleep(0.05)
"""
WAIT = 20.0


@pytest.fixture
def pool(free_port, monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", (sys.executable, "-c", CHILD))
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    settings = build_settings({"dicom": {"port": free_port, "processes": 2}}, "here")
    made = ListenerPool(settings, wake=lambda _whom: None, figures=Metrics().all_processes(), share=lambda: None)
    made.start()
    yield made
    made.stop(0.0)


def eventually(what):
    deadline = time.monotonic() + WAIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_ready(pool):
    try:
        pool.check()
    except TriageError:
        return False
    return True


def killed(pool):
    """One of them is; the process ids of the others."""
    victim, *others = pool.pids
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in pool.pids)
    return others


def test_one_that_cannot_be_started_for_want_of_files_is_tried_again(pool, monkeypatch, capsys):
    pair, failed = socket.socketpair, []

    def fails_first():
        if threading.current_thread().name.startswith("listener-process-") and len(failed) < 2:
            failed.append(1)
            raise OSError(24, "Too many open files")
        return pair()

    monkeypatch.setattr(socket, "socketpair", fails_first)
    killed(pool)
    eventually(lambda: len(pool.pids) == 2 and is_ready(pool))
    assert len(failed) == 2
    assert "Too many open files" in capsys.readouterr().out


def test_what_nobody_has_foreseen_ends_one_process_and_not_the_thread_that_starts_the_next(pool, monkeypatch):
    hear, raised = module._Process._hear, []

    def fails_once(self, name, channel, message):
        if not raised:
            raised.append(name)
            raise KeyError("peers")
        hear(self, name, channel, message)

    before = pool.pids
    monkeypatch.setattr(module._Process, "_hear", fails_once)
    eventually(lambda: raised and len(set(pool.pids) - set(before)) == 1 and is_ready(pool))
    assert len(pool.pids) == 2
    gone = next(iter(set(before) - set(pool.pids)))
    with pytest.raises(ProcessLookupError):
        os.kill(gone, 0)


def test_one_that_is_stopped_is_not_ready_and_goes_on_when_it_is_let(pool, monkeypatch):
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.5)
    before = pool.pids
    assert is_ready(pool)
    os.kill(before[0], signal.SIGSTOP)
    eventually(lambda: not is_ready(pool))
    os.kill(before[0], signal.SIGCONT)
    eventually(lambda: is_ready(pool))
    assert pool.pids == before


def test_one_that_stays_silent_is_killed_and_another_started(pool, monkeypatch):
    monkeypatch.setattr(module, "_SILENT_SECONDS", 1.0)
    stopped, other = pool.pids
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: stopped not in pool.pids and len(pool.pids) == 2 and is_ready(pool))
    assert other in pool.pids
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


def test_while_the_main_process_itself_stood_still_nobody_was_silent(pool, monkeypatch):
    before = pool.pids
    silenced = []
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.0)  # every gap between two looks is one in which it stood still
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(module._Process, "_hear", lambda *_: silenced.append(1))
    time.sleep(0.5)
    assert silenced
    assert pool.pids == before
