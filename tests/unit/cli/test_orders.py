"""`orders`, as people and programs read it."""

import json

from support.ordering import message, order
from support.story import STUDY, T0

from triage_agent.cli import orders
from triage_agent.domain.orders import OrderStatus
from triage_agent.domain.vocabulary import Priority


def test_what_is_known_is_listed_the_last_changed_first(run, story, monkeypatch):
    known = story.worklist
    known.keep_orders([order(priority=Priority.STAT, patient_class="E", patient_location="ED 3")], message("M1", at=T0))
    monkeypatch.setattr(orders, "open_worklist", lambda _settings: known)
    shown = run("orders").out
    assert all(word in shown for word in ("STAT", "scheduled", "A1", "Doe^Jane", "M1"))
    (told,) = json.loads(run("orders", "--json").out)
    assert (told["accession_number"], told["priority"], told["patient_class"]) == ("A1", "stat", "E")
    assert told["received_at"].startswith("2026-03-01T09:30:00")


def test_a_terminal_obeys_nothing_that_a_message_says(run, story, monkeypatch):
    known = story.worklist
    known.keep_orders([order(patient_name="Doe\x1b[2J", status=OrderStatus.CANCELLED)], message(at=T0))
    monkeypatch.setattr(orders, "open_worklist", lambda _settings: known)
    assert "\x1b[2J" not in run("orders").out
    assert "\x1b" not in run("orders", "--json").out
    assert known.study(STUDY) is None
