"""What `check` says of studies that nobody takes up, and of results that nobody takes."""

from datetime import timedelta

import pytest
from support.story import T0

from triage_agent.cli.ports import Noteworthy
from triage_agent.cli.waiting import look_at_backlog, told
from triage_agent.domain.backlog import Backlog, Pending
from triage_agent.settings import Settings


def backlog(waiting=0, minutes=0.0, held=0, **pending):
    since = T0 - timedelta(minutes=minutes) if waiting else None
    return Backlog(waiting=waiting, since=since, held=held, pending=pending, retrievals=0)


def results(number, **ago):
    return Pending(number=number, since=T0 - timedelta(**ago))


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        (backlog(), "nothing waits"),
        (backlog(1, 0.5), "waiting: 1 study for a worker, the longest for 30 s"),
        (backlog(held=3), "nothing waits"),
        (
            backlog(2, 4, pacs=results(12, hours=3), ris=results(1, days=2)),
            (
                "waiting: 2 studies for a worker, the longest for 4 min; 12 results for pacs, the oldest for 3 h; "
                "1 result for ris, the oldest for 2 d"
            ),
        ),
        (backlog(pacs=results(1, seconds=-5)), "waiting: 1 result for pacs, the oldest for 0 s"),
    ],
)
def test_what_waits_is_said(waits, said):
    assert told(waits, T0) == said


def test_studies_that_nobody_takes_up_are_remarked_on_with_the_way_out():
    with pytest.raises(
        Noteworthy, match="3 studies for a worker, the longest for 20 min, and no worker has one"
    ) as seen:
        told(backlog(3, 20), T0)
    assert "--role worker" in seen.value.remedy


def test_workers_that_are_behind_are_told_from_none():
    with pytest.raises(Noteworthy, match="workers have 2") as seen:
        told(backlog(3, 20, held=2), T0)
    assert "another worker" in seen.value.remedy


def test_where_there_is_no_worklist_yet_nothing_waits(tmp_path):
    assert look_at_backlog(Settings(data_dir=tmp_path)) == "nothing waits"
    assert list(tmp_path.iterdir()) == []
