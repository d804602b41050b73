"""Order messages that come late, or again: what its sender has said since is not taken back."""

from dataclasses import replace

import pytest
from support.ordering import message, order
from support.story import RULE, SECOND, STUDY, T0, received

from triage_agent.domain.orders import Message, OrderStatus
from triage_agent.domain.vocabulary import Priority

NOTHING = dict.fromkeys(("patient_name", "modality", "scheduled_date", "procedure_description", "priority"))


def made(seconds, control_id, sender="RIS^H"):
    """A message that was made so many seconds after T0, and has come just now."""
    at = T0 + 100 * SECOND
    written_at = None if seconds is None else T0 + seconds * SECOND
    return Message(control_id=control_id, sender=sender, received_at=at, written_at=written_at)


def the_order(worklist):
    (known,) = worklist.orders()
    return known


def test_a_priority_that_comes_late_does_not_take_the_place_of_a_newer_one(worklist):
    worklist.keep_orders([order(priority=Priority.STAT)], made(2, "M2"))
    worklist.keep_orders([order(priority=Priority.ROUTINE, patient_name="Old^Name")], made(1, "M1"))
    known = the_order(worklist)
    assert (known.priority, known.patient_name) == (Priority.STAT, "Doe^Jane")
    worklist.register(received(accession_number="A1", patient_id="P1"), RULE)
    assert worklist.study(STUDY).item.priority is Priority.STAT


def test_a_cancellation_is_not_taken_back_by_the_order_that_comes_again(worklist):
    worklist.keep_orders([order(priority=Priority.STAT, status=OrderStatus.SCHEDULED)], made(1, "M1"))
    worklist.keep_orders([order(priority=None, status=OrderStatus.CANCELLED)], made(2, "M2"))
    worklist.keep_orders([order(priority=Priority.STAT, status=OrderStatus.SCHEDULED)], made(1, "M1"))
    assert the_order(worklist).status is OrderStatus.CANCELLED


def test_the_same_message_again_changes_nothing(worklist):
    first = worklist.keep_orders([order()], made(1, "M1"))
    assert worklist.keep_orders([order()], made(1, "M1")) == first


def test_an_order_that_comes_after_its_change_says_all_that_the_change_did_not(worklist):
    """And its priority, where the change stated none: no STAT is lost."""
    change = replace(order(accession_number=None, patient_name="New^Name"), **{**NOTHING, "patient_name": "New^Name"})
    worklist.keep_orders([change], made(2, "M2"))
    worklist.keep_orders([order(priority=Priority.STAT)], made(1, "M1"))
    known = the_order(worklist)
    assert (known.accession_number, known.modality, known.priority) == ("A1", "DX", Priority.STAT)
    assert (known.patient_name, known.written_at) == ("New^Name", T0 + 2 * SECOND)


@pytest.mark.parametrize("later", [made(1, "M2", sender="OTHER^H"), made(None, "M2"), made(2, "M2")])
def test_what_cannot_be_compared_or_is_as_new_counts(worklist, later):
    worklist.keep_orders([order(priority=Priority.STAT)], made(2, "M1"))
    worklist.keep_orders([order(priority=Priority.URGENT)], later)
    assert the_order(worklist).priority is Priority.URGENT


def test_a_message_that_does_not_say_when_it_was_made_lets_the_next_be_compared_with_the_one_before(worklist):
    worklist.keep_orders([order(priority=Priority.ROUTINE)], made(5, "M1"))
    worklist.keep_orders([order(priority=None)], message("M2", T0))
    worklist.keep_orders([order(priority=Priority.STAT, patient_name="Old^Name")], made(4, "M3"))
    assert (the_order(worklist).priority, the_order(worklist).patient_name) == (Priority.ROUTINE, "Doe^Jane")


@pytest.mark.parametrize("seconds", [(30, 0), (0, 30)])
def test_a_stat_raises_the_study_that_is_here_whatever_its_sender_s_clock_says(worklist, seconds):
    """The record keeps what is newer; a priority only rises (promise 3)."""
    worklist.register(received(accession_number="A1", patient_id="P1"), RULE)
    for number, (at, priority) in enumerate(zip(seconds, (Priority.ROUTINE, Priority.STAT), strict=True)):
        worklist.keep_orders([order(priority=priority)], made(at, f"M{number}"))
    assert worklist.study(STUDY).item.priority is Priority.STAT


def test_what_a_cancelled_order_says_late_raises_nothing(worklist):
    worklist.register(received(accession_number="A1", patient_id="P1"), RULE)
    worklist.keep_orders([order(priority=None, status=OrderStatus.CANCELLED)], made(2, "M2"))
    worklist.keep_orders([order(priority=Priority.STAT, status=OrderStatus.SCHEDULED)], made(1, "M1"))
    assert worklist.study(STUDY).item.priority is Priority.ROUTINE
