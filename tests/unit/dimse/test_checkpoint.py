"""Where an association's reactor is stopped: whoever stopped it knows that it stands."""

import threading

import pytest

from triage_agent.dimse.checkpoint import SureCheckpoint

SOON = 30.0  # seconds; everything here takes milliseconds


class Reactor(threading.Thread):
    """Comes by its checkpoint again and again, and takes a while to go on."""

    dimse_timeout = 0.2
    _kill = False

    def __init__(self):
        super().__init__(daemon=True)
        self.checkpoint, self.ended = SureCheckpoint(self), threading.Event()
        self.works, self.rounds, self.serves = False, 0, None

    def run(self):
        while not self.ended.is_set():
            self.checkpoint.wait()
            self.works = True
            self.rounds += 1
            if self.serves:
                self.serves()
            self.ended.wait(0.002)
            self.works = False


@pytest.fixture
def reactor():
    running = Reactor()
    running.start()
    yield running
    running.ended.set()
    running.checkpoint.set()
    running.join(SOON)
    assert not running.is_alive()


def test_it_never_works_between_a_stop_and_the_go(reactor):
    reactor.dimse_timeout = SOON
    for _ in range(30):
        reactor.checkpoint.clear()
        assert not reactor.works
        before = reactor.rounds
        threading.Event().wait(0.001)
        assert reactor.rounds == before
        reactor.checkpoint.set()  # and it is stopped again before it has had the time to wake


def test_one_that_serves_for_long_is_not_waited_for_without_end(reactor):
    begun, go_on = threading.Event(), threading.Event()
    reactor.serves = lambda: begun.set() or go_on.wait(SOON)
    assert begun.wait(SOON)
    with pytest.raises(RuntimeError, match="busy"):
        reactor.checkpoint.clear()
    assert reactor.works
    go_on.set()


def test_one_that_stops_itself_while_it_serves_is_not_waited_for(reactor):
    stopped = threading.Event()
    reactor.dimse_timeout = SOON

    def serve():
        reactor.checkpoint.clear()
        stopped.set()
        reactor.checkpoint.set()

    reactor.serves = serve
    assert stopped.wait(SOON / 2)


def test_one_that_has_ended_is_not_waited_for():
    ended = Reactor()
    ended.dimse_timeout = SOON
    ended.ended.set()
    ended.start()
    ended.join(SOON)
    with pytest.raises(RuntimeError, match="ended"):
        ended.checkpoint.clear()
    assert ended.checkpoint.is_set()


def test_one_that_releases_what_nobody_used_is_let_end_and_nothing_is_sent(reactor):
    releases, go_on = threading.Event(), threading.Event()
    reactor.dimse_timeout = SOON

    def release():
        reactor.checkpoint.clear()
        releases.set()
        go_on.wait(SOON)
        reactor.checkpoint.set()
        reactor.ended.set()

    reactor.serves = release
    assert releases.wait(SOON)
    threading.Timer(0.05, go_on.set).start()
    with pytest.raises(RuntimeError, match="ended"):
        reactor.checkpoint.clear()
    reactor.join(SOON)
    assert not reactor.is_alive()
