"""Ports for servers of tests."""

import contextlib
import itertools
import os
import random
import socket
import threading

_FIRST, _EACH, _PROCESSES = 15000, 2000, 8  # below those that systems give to clients
_lock = threading.Lock()


def _mine():
    """This process's own ports, one after the other: what was given once is not given again soon."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0) % _PROCESSES
    ports = range(_FIRST + worker * _EACH, _FIRST + (worker + 1) * _EACH)
    start = random.SystemRandom().randrange(_EACH)  # the tests' own seed is the same in each process
    return itertools.cycle([*ports[start:], *ports[:start]])


_ports = _mine()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, and that no client's socket is given by chance meanwhile."""
    with _lock:
        for port in itertools.islice(_ports, _EACH):
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")
