"""Asking for work in vain holds up nobody who writes, and what is synced by itself is what must last."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event
from support.story import LEASE, RULE, STUDY, T0, Story, decision, received, shipment

from triage_agent.domain.vocabulary import Status

FULL, NORMAL = 2, 1  # https://www.sqlite.org/pragma.html#pragma_synchronous

VAIN = {
    "images": lambda worklist: worklist.claim_images("w", T0, LEASE, 8),
    "a study": lambda worklist: worklist.claim_study("w", T0, LEASE),
    "deliveries": lambda worklist: worklist.claim_deliveries("w", T0, LEASE, 1),
    "deliveries to a place": lambda worklist: worklist.claim_deliveries("w", T0, LEASE, 1, ["pacs"]),
    "deliveries to nowhere": lambda worklist: worklist.claim_deliveries("w", T0, LEASE, 1, []),
    "what to commit to": lambda worklist: worklist.claim_commitment_request(T0, T0 + LEASE),
}


@pytest.fixture
def syncing(engine):
    """How each transaction that writes is synced, from then on."""
    found = []

    @event.listens_for(engine, "after_cursor_execute")
    def look(connection, cursor, statement, parameters, context, executemany):
        if statement == "BEGIN IMMEDIATE":
            found.extend(cursor.connection.execute("PRAGMA synchronous").fetchone())

    return found


@pytest.mark.parametrize("ask", VAIN.values(), ids=VAIN)
def test_who_asks_in_vain_does_not_wait_for_whoever_writes(engine, worklist, ask):
    with closing(sqlite3.connect(engine.url.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not ask(worklist)


@pytest.mark.parametrize("ask", VAIN.values(), ids=VAIN)
def test_who_asks_in_vain_writes_nothing(worklist, syncing, ask):
    assert not ask(worklist)
    assert syncing == []


def test_what_must_last_is_synced_by_itself(worklist, syncing):
    story = Story(worklist)
    story.claimed()
    assert worklist.decide(decision(), [], [shipment()], "w1")
    (delivery,) = worklist.claim_deliveries("d", story.tick(), LEASE, 1, ["pacs"])
    synced = list(syncing)
    worklist.delivery_sent(delivery, story.tick())
    # Received, complete, claimed (whatever ends the whole machine has been counted) and decided; then held to be sent.
    assert synced == [FULL, FULL, FULL, FULL, NORMAL]
    assert syncing[-1] == FULL


def test_an_image_is_counted_as_tried_before_it_can_do_harm(worklist, syncing):
    story = Story(worklist)
    story.receive()
    syncing.clear()
    assert worklist.claim_images("w", story.tick(), LEASE, 8)
    assert syncing == [FULL]


def test_a_claim_that_is_not_synced_is_seen_by_all_at_once(engine, worklist):
    story = Story(worklist)
    story.claimed()
    worklist.decide(decision(), [], [shipment()], "w1")
    worklist.claim_deliveries("d", story.tick(), LEASE, 1, ["pacs"])
    with closing(sqlite3.connect(engine.url.database)) as other:
        assert other.execute("SELECT state, attempts FROM outbox").fetchall() == [("sending", 1)]
    assert worklist.claim_deliveries("e", story.tick(), LEASE, 1, ["pacs"]) == []


def test_a_connection_that_synced_nothing_by_itself_does_so_again_for_what_must_last(worklist, syncing):
    """One connection serves both kinds of transaction in turn."""
    story = Story(worklist)
    story.claimed()
    worklist.decide(decision(), [], [shipment("2.25.1"), shipment("2.25.2", "ris")], "w1")
    syncing.clear()
    for to in ("pacs", "ris"):
        (delivery,) = worklist.claim_deliveries("d", story.tick(), LEASE, 1, [to])
        worklist.delivery_sent(delivery, story.tick())
    worklist.register(received(STUDY, f"{STUDY}.2", story.tick()), RULE)
    assert syncing == [NORMAL, FULL, NORMAL, FULL, FULL]
    assert story.status() is Status.RECEIVING
