"""Looking for work takes no writer's turn where there is none: loops look many times a second."""

import pytest
from sqlalchemy import text
from support.story import LEASE, T0, shipment

from triage_agent.worklist import SqlWorklist, open_engine


@pytest.fixture
def busy(sqlite_url):
    """A worklist on SQLite, to which somebody else writes for as long as the test takes."""
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # a transaction of ours is the writer from its first statement on
        yield SqlWorklist(engine)
        connection.rollback()
    engine.dispose()


def test_a_sender_with_nothing_due_waits_for_no_writer(busy):
    assert busy.claim_deliveries("s1", T0, LEASE, 1, ["pacs"]) == []


def test_a_worker_without_a_complete_study_waits_for_no_writer(busy):
    assert busy.claim_study("w1", T0, LEASE) is None


def test_what_is_due_later_or_elsewhere_is_left_alone_and_then_taken(story):
    story.decided(shipment(to="pacs"))
    assert story.deliveries(destinations=["ris"]) == []
    assert [one.destination for one in story.deliveries(destinations=["pacs"])] == ["pacs"]


def test_what_a_lost_sender_held_is_due_again(story):
    story.decided(shipment(to="pacs"))
    assert len(story.deliveries()) == 1
    assert story.deliveries() == []
    story.tick(LEASE)
    assert len(story.deliveries()) == 1
