"""What many threads write at once: one transaction for all that wait, and nobody fails for another's failure."""

import threading
from contextlib import contextmanager

import pytest

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.worklist import grouping
from triage_agent.worklist.grouping import Company

BUSY = WorklistUnavailableError("busy", remedy="wait")


class Desk:
    """A company whose first turn is held until `opened`; what it did, a list for each transaction."""

    def __init__(self, hopeless=False):
        self.opened, self.began = threading.Event(), threading.Event()
        self.transactions, self.alone = [], []
        self.failing = None
        self._lock = threading.Lock()
        self.company = Company(
            turn=self._turn, together=self._together, alone=self._by_itself, hopeless=lambda _: hopeless
        )
        self.results, self.errors = {}, {}

    @contextmanager
    def _turn(self):
        if not self._lock.acquire(timeout=30):
            raise BUSY
        try:
            yield 5.0
        finally:
            self._lock.release()

    def _together(self, works, _seconds):
        self.began.set()
        assert self.opened.wait(30)
        if self.failing is not None and len(works) > 1:
            raise self.failing
        self.transactions.append([work(None) for work in works])
        return self.transactions[-1]

    def _by_itself(self, work):
        with self._turn():
            self.alone.append(work(None))
            return self.alone[-1]

    def write(self, name):
        try:
            self.results[name] = self.company.write(lambda _session: name)
        except (WorklistUnavailableError, ValueError) as error:
            self.errors[name] = error

    def crowd(self, *names):
        """One thread begins; the others come while it has the turn, and then it goes on."""
        threads = [threading.Thread(target=self.write, args=(name,)) for name in names]
        threads[0].start()
        assert self.began.wait(30)
        for thread in threads[1:]:
            thread.start()
        while len(self.company._waiting) < len(names) - 1:
            threading.Event().wait(0.001)
        self.opened.set()
        for thread in threads:
            thread.join(30)


def test_without_company_it_is_a_transaction_like_any_other():
    desk = Desk()
    desk.opened.set()
    desk.write("one")
    assert (desk.transactions, desk.results) == ([["one"]], {"one": "one"})


def test_those_that_wait_are_written_together_and_each_gets_its_own_result():
    desk = Desk()
    desk.crowd("first", "b", "c", "d")
    assert [sorted(each) for each in desk.transactions] == [["first"], ["b", "c", "d"]]
    assert desk.results == {name: name for name in ("first", "b", "c", "d")}


def test_no_transaction_is_longer_than_so_many(monkeypatch):
    monkeypatch.setattr(grouping, "MOST", 2)
    desk = Desk()
    desk.crowd("first", "b", "c", "d", "e")
    assert max(map(len, desk.transactions)) == 2
    assert sorted(desk.results) == ["b", "c", "d", "e", "first"]


@pytest.mark.parametrize("error", [ValueError("a bug"), BUSY], ids=["a bug", "worth another try"])
def test_where_one_fails_each_is_written_by_itself(error):
    desk = Desk()
    desk.failing = error
    desk.crowd("first", "b", "c")
    assert desk.transactions == [["first"]]
    assert sorted(desk.alone) == ["b", "c"]
    assert desk.results == {name: name for name in ("first", "b", "c")}


def test_a_database_that_is_away_is_waited_for_once_by_all():
    desk = Desk(hopeless=True)
    desk.failing = BUSY
    desk.crowd("first", "b", "c")
    assert desk.alone == []
    assert {name: error.message for name, error in desk.errors.items()} == {"b": "busy", "c": "busy"}
    assert desk.errors["b"] is not desk.errors["c"]


def test_what_has_no_turn_in_time_is_written_by_nobody():
    @contextmanager
    def refused():
        raise BUSY
        yield 0.0

    done = []
    company = Company(turn=refused, together=done.append, alone=done.append, hopeless=lambda _: True)
    with pytest.raises(WorklistUnavailableError, match="busy"):
        company.write(lambda _session: None)
    assert (done, list(company._waiting)) == ([], [])
