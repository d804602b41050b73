"""The two ports of a listener begin and end together."""

import threading

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.listening import Listener

SOON = 20.0  # seconds; everything here takes milliseconds


class Port:
    """Something that listens, and whose end waits for that of the other one to have begun."""

    def __init__(self, ending=None, *, taken=False):
        self.ending = ending
        self.taken = taken
        self.told = []

    def start(self):
        if self.taken:
            raise ConfigurationError("the port is taken")
        self.told.append("start")

    def stop(self, seconds):
        if self.ending is not None:
            self.ending.wait(SOON)  # BrokenBarrierError where the other does not come
        self.told.append(seconds)


def listener(server, orders):
    return Listener(server, None, None, None, None, None, orders)


def test_both_drain_at_the_same_time():
    together = threading.Barrier(2)
    server, orders = Port(together), Port(together)
    both = listener(server, orders)
    both.start()
    both.stop(8.0)
    assert (server.told, orders.told) == (["start", 8.0], ["start", 8.0])


def test_without_orders_there_is_one_port():
    server = Port()
    alone = listener(server, None)
    alone.start()
    alone.stop(8.0)
    assert server.told == ["start", 8.0]


def test_where_orders_cannot_be_listened_for_associations_are_not_accepted_either():
    server = Port()
    with pytest.raises(ConfigurationError):
        listener(server, Port(taken=True)).start()
    assert server.told == ["start", 0.0]
