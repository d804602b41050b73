"""Results that a process of an older version queued, before it was replaced too, are sent as all others are."""

import pytest
from sqlalchemy import text
from support.story import SECOND, Story, shipment

from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.worklist import SqlWorklist

K = ArtifactKind
_AS_BEFORE = "UPDATE outbox SET kind = NULL, priority = NULL, study_received_at = NULL"


@pytest.fixture
def story(engine):
    return Story(SqlWorklist(engine))


@pytest.fixture
def older(engine):
    """Makes rows of the outbox what a version from before 0013 of the database writes."""

    def make_older(where="1 = 1"):
        with engine.begin() as connection:
            connection.execute(text(f"{_AS_BEFORE} WHERE {where}"))

    return make_older


def filled(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT kind, priority, study_received_at IS NULL FROM outbox ORDER BY id")
        ).all()


def test_what_an_older_process_queued_is_sent_in_its_order(story, older, engine):
    story.decided(shipment("2.25.1"), shipment("2.25.2"), shipment("2.25.3", kind=K.GSPS))
    before = filled(engine)
    older()
    assert story.send() == ["2.25.1", "2.25.3"]
    assert story.send() == ["2.25.2"]
    assert [tuple(row) for row in filled(engine)] == [tuple(row) for row in before]


def test_it_neither_overtakes_what_is_more_urgent_nor_waits_behind_what_is_less(story, older):
    for number, priority in enumerate((Priority.ROUTINE, Priority.URGENT, Priority.STAT)):
        story.decided(shipment(f"2.25.{number}"), study=f"1.2.{number}", priority=priority)
    older("study_instance_uid = '1.2.1'")
    assert story.send() == ["2.25.2", "2.25.1", "2.25.0"]


def test_what_an_older_process_is_sending_is_not_overtaken(story, older):
    story.decided(shipment("2.25.1"), shipment("2.25.2"))
    (sending,) = story.deliveries()
    older("state = 'sending'")
    assert story.deliveries() == []
    story.worklist.delivery_sent(sending, story.tick())
    assert story.send() == ["2.25.2"]


def test_what_an_older_process_left_behind_is_sent_when_its_lease_ends(story, older):
    story.decided(shipment("2.25.1"), shipment("2.25.2"))
    story.deliveries()
    older()
    story.tick(61 * SECOND)
    assert story.send() == ["2.25.1"]
    assert story.send() == ["2.25.2"]


def test_one_whose_study_was_raised_meanwhile_is_not_overtaken_either(story, older, engine):
    story.decided(shipment("2.25.1"), shipment("2.25.2"))
    older("id = (SELECT min(id) FROM outbox)")
    with engine.begin() as connection:
        connection.execute(text("UPDATE studies SET priority = 2"))  # a trigger tells the outbox, not what it is of
    assert filled(engine)[0][0] is None
    assert story.send() == ["2.25.1"]
    assert story.send() == ["2.25.2"]


def test_only_the_rows_of_a_senders_own_destinations_are_touched(story, older, engine):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    older()
    assert story.send(destinations=["pacs"]) == ["2.25.1"]
    assert sorted(kind is None for kind, *_ in filled(engine)) == [False, True]
