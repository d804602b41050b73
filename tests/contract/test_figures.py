"""What the dashboard asks, on both databases."""

from datetime import timedelta

import pytest
from sqlalchemy import insert
from support.story import T0, Story, shipment

from triage_agent.domain.figures import BINS
from triage_agent.domain.vocabulary import Finding, Priority, Status
from triage_agent.worklist import SqlWorklist
from triage_agent.worklist.figures import SqlFigures, figures_of
from triage_agent.worklist.memory import MemoryWorklist
from triage_agent.worklist.tables import StudyRow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def worklist(engine):
    return SqlWorklist(engine)


@pytest.fixture
def figures(worklist):
    return SqlFigures(worklist.database)


def put(worklist, *studies):
    """Studies with what each is to differ in."""
    rows = []
    for number, changes in enumerate(studies):
        at = changes.get("received_at", T0)
        common = {"status": Status.DELIVERED, "revision": 1, "priority": Priority.ROUTINE, "instances": 1}
        times = dict.fromkeys(("received_at", "first_received_at", "last_received_at"), at)
        more = {"priority_at_arrival": Priority.ROUTINE, "asked": 0, "attempts": 0, "reasons": []}
        known = dict.fromkeys(("flagged_at", "delivered_at", "decided_at", "anatomy", "finding", "bundle"))
        uid = {"study_instance_uid": f"1.2.3.{number}", "probability": None}
        rows.append({**uid, **common, **times, **more, **known, **changes})
    worklist.database.write(lambda session: session.execute(insert(StudyRow), rows))


def test_an_empty_database_has_nothing_to_say(figures):
    assert figures.arrivals(T0) == {}
    assert list(figures.courses(T0, 10)) == []
    assert figures.scores(T0).bundle is None
    assert list(figures.routes()) == []


def test_arrivals_are_counted_by_the_hour_in_utc(worklist, figures):
    put(worklist, *({"received_at": T0 + number * timedelta(minutes=20)} for number in range(5)))
    hour = T0.replace(minute=0)
    assert figures.arrivals(T0) == {hour: 2, hour + HOUR: 3}
    assert figures.arrivals(T0 + HOUR) == {hour + HOUR: 2}


def test_the_newest_courses_come_first(worklist, figures):
    put(
        worklist,
        {"received_at": T0, "flagged_at": T0 + HOUR, "finding": Finding.ABNORMAL, "anatomy": "XR_KNEE"},
        {"received_at": T0 + HOUR},
        {"received_at": T0 - DAY},
    )
    found = figures.courses(T0 - HOUR, 10)
    assert [one.received_at for one in found] == [T0 + HOUR, T0]
    assert (found[1].flagged_at, found[1].finding, found[1].region) == (T0 + HOUR, Finding.ABNORMAL, "XR_KNEE")
    assert len(figures.courses(T0 - 2 * DAY, 1)) == 1


def test_scores_are_of_the_bundle_that_decided_last_and_never_compared_with_themselves(worklist, figures):
    story = Story(worklist)
    story.decided()
    bundle = story.item().bundle
    now = story.now + 60 * DAY

    def at(days, probability, label=bundle):
        return {"decided_at": story.now + days * DAY, "probability": probability, "bundle": label, "anatomy": "XR_HAND"}

    put(worklist, at(1, 0.05), at(27, 0.95), at(29, 0.5), at(58, 0.95), at(58, None), at(1, 0.5, "another"))
    found = figures.scores(now)
    assert (found.bundle, found.since) == (bundle, story.now)
    assert sum(found.reference["XR_KNEE"]) == 1
    assert found.reference["XR_HAND"] == [1] + [0] * (BINS - 2) + [1]
    assert found.current == {"XR_HAND": [0] * (BINS - 1) + [1]}
    young = figures.scores(story.now + 3 * DAY)
    assert young.reference == {}
    assert sum(young.current["XR_KNEE"]) == 1


def test_routes_are_those_to_which_something_went(worklist, figures):
    story = Story(worklist)
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"), shipment("2.25.3", "late"))
    story.send(destinations=["pacs"])
    story.send(destinations=["ris"])
    story.decided(shipment("2.25.4", "ris"), study="1.2.9")
    story.lose(destinations=["ris"])
    found = {one.destination: one for one in figures.routes()}
    assert set(found) == {"pacs", "ris"}
    assert (found["pacs"].dead, found["ris"].dead) == (0, 1)
    assert found["pacs"].last_sent_at < found["ris"].last_sent_at


def test_a_worklist_in_memory_has_no_figures():
    assert figures_of(MemoryWorklist()) is None
