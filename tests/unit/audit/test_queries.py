"""Searches: the first of an hour is recorded before it is answered, the others are counted; records stay few."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.audit.queries import QueryLog
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction, Searched

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class Site:
    """A log of searches over a list of records, by a clock that a test moves."""

    def __init__(self):
        self.now, self.records, self.away = datetime(2026, 3, 1, 8, tzinfo=UTC), [], False
        self.log = QueryLog(self._record, lambda: self.now)

    def _record(self, event):
        if self.away:
            raise WorklistUnavailableError("away")
        self.records.append(event)

    def asks(self, times=1, caller="RIS", address="10.0.0.1", searched=Searched.ORDERS, every=SECOND):
        for _ in range(times):
            self.log.asked(searched, caller, address)
            self.now += every

    def counted(self):
        return [(event.actor, event.detail["searched"], event.detail["queries"]) for event in self.records]


@pytest.fixture
def site():
    return Site()


def test_the_first_search_is_a_record_at_once(site):
    site.asks()
    (event,) = site.records
    assert (event.action, event.actor, event.study_instance_uid) == (AuditAction.QUERIED, "RIS", None)
    assert event.detail == {"searched": "modality worklist", "queries": 1, "address": "10.0.0.1"}


def test_a_ris_that_polls_every_ten_seconds_for_a_day_makes_two_records_an_hour_and_none_is_forgotten(site):
    site.asks(times=24 * 360, every=10 * SECOND)
    site.log.close()
    assert (len(site.records), sum(queries for *_, queries in site.counted())) == (48, 24 * 360)


def test_what_was_counted_is_recorded_when_the_hour_is_over(site):
    site.asks(times=5)
    assert not site.log.step()
    site.now += HOUR
    assert site.log.step()
    assert not site.log.step()
    assert site.counted() == [("RIS", "modality worklist", 1), ("RIS", "modality worklist", 4)]
    assert site.records[1].detail["since"] == "2026-03-01T08:00:00+00:00"
    site.asks()
    assert site.counted()[2] == ("RIS", "modality worklist", 1)


def test_everybody_and_everything_is_counted_apart(site):
    site.asks(times=2)
    site.asks(times=2, address="10.0.0.2")
    site.asks(times=2, searched=Searched.WORKITEMS)
    site.asks(times=2, caller="VIEWER", searched=Searched.RESULTS)
    site.log.close()
    assert len(site.records) == 8


def test_what_cannot_be_recorded_is_refused_and_counts_are_kept_until_they_can_be(site):
    site.away = True
    with pytest.raises(WorklistUnavailableError):
        site.asks()
    site.away = False
    site.asks(times=3)
    site.now += HOUR
    site.away = True
    for attempt in (site.log.step, site.log.close, site.asks):
        with pytest.raises(WorklistUnavailableError):
            attempt()
    site.away = False
    site.asks()
    assert [queries for *_, queries in site.counted()] == [1, 2, 1]


def test_a_clock_that_is_set_back_ends_the_hour(site):
    site.asks(times=2)
    site.now -= 5 * HOUR
    site.asks()
    assert [queries for *_, queries in site.counted()] == [1, 1, 1]


def test_strangers_without_number_take_no_memory_without_bound(site):
    for number in range(3000):
        site.asks(caller=f"AE{number}", every=timedelta(0))
    site.asks(times=2, caller="AE2999", every=timedelta(0))
    assert len(site.log._hours) <= 1024
    assert len(site.records) == 3000
    site.log.close()
    assert sum(queries for *_, queries in site.counted()) == 3002
