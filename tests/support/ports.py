"""Ports for servers of tests."""

import contextlib
import random
import socket

_PORTS = range(15000, 32000)  # below those that systems give to clients


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, and that no client's socket is given by chance meanwhile."""
    for port in random.SystemRandom().sample(_PORTS, 100):  # the tests' own seed is the same in each process
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a hundred ports are in use")
