"""What is known of a study when it is claimed, and what is remembered of its decisions."""

from datetime import timedelta

import pytest
from support.story import MODEL, SECOND, STUDY, T0, flag, scored, shipment

from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.orders import Message, Order, OrderStatus
from triage_agent.domain.vocabulary import Priority

ORDER = {"placer_order_number": "P1", "accession_number": "A1", "patient_id": "42"}


def order(story, **said):
    message = Message(control_id="M1", sender="RIS", received_at=story.tick())
    story.worklist.keep_orders([Order(**{**ORDER, **said})], message)


def test_of_a_study_without_order_only_its_arrival_is_known(story):
    claimed = story.claimed()
    assert claimed.known == Circumstances(arrived_at=T0 + SECOND)
    assert claimed.told == frozenset()


def test_an_order_tells_priority_place_and_age(story):
    said = {"patient_location": "ED R1", "patient_class": "E", "patient_birth_date": "20190302"}
    order(story, priority=Priority.URGENT, **said)
    story.receive(accession_number="A1", patient_id="42", patient_birth_date="19500101", patient_age=76)
    known = Circumstances(
        order_priority=Priority.URGENT, location="ED R1", patient_class="E", age=6, arrived_at=T0 + 2 * SECOND
    )
    (image,) = story.worklist.claim_images("w1", story.tick(), timedelta(seconds=60), 5)
    assert image.known == known
    story.worklist.record_assessment(image, scored(f"{STUDY}.1"), story.tick())
    story.complete()
    assert story.claim().known == known


def test_a_cancelled_order_tells_nothing(story):
    order(story, priority=Priority.ROUTINE, patient_location="ED")
    order(story, status=OrderStatus.CANCELLED)
    assert story.claimed(accession_number="A1", patient_id="42").known == Circumstances(arrived_at=T0 + 3 * SECOND)


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ([{"patient_birth_date": "20160101"}], 10),
        ([{"patient_age": 3}], 3),
        ([{}, {"patient_birth_date": "20160101", "patient_age": 99}], 10),
        ([{"patient_birth_date": "20990101", "patient_age": 0}], 0),
        ([{}], None),
    ],
)
def test_the_age_is_what_the_first_header_says_that_states_one(story, headers, age):
    for header in headers:
        story.receive(**header)
    story.complete()
    assert story.claim().known.age == age


def test_what_a_header_asks_for_is_an_order_of_it(story):
    assert story.claimed(requested_priority=Priority.STAT).known.order_priority is Priority.STAT


def test_who_was_told_of_a_study_is_known_when_it_is_claimed_again(story):
    story.decided(shipment("2.25.1", "pacs"), shipment("2.25.2", "ris"))
    story.receive()
    story.complete()
    assert story.claim().told == {"pacs", "ris"}


def test_a_decision_is_remembered_with_what_was_known_then(story):
    order(story, patient_location="ED", priority=Priority.URGENT)
    claimed = story.claimed(accession_number="A1", patient_id="42")
    image = scored(f"{STUDY}.1", 0.8)
    assert story.decide(assessments=[image], known=claimed.known, priority=Priority.STAT, rule="mine")
    decided_at = story.now
    order(story, patient_location="ICU", priority=Priority.STAT)
    assert story.worklist.studies_decided_since(decided_at) == [STUDY]
    assert story.worklist.studies_decided_since(decided_at + SECOND) == []
    study = story.worklist.decided_study(STUDY)
    (one,) = study.revisions
    assert (one.rule, one.priority, one.acr_category, one.probability) == ("mine", Priority.STAT, "2", 0.8)
    assert (one.model, one.decided_at, one.known) == (MODEL, decided_at, claimed.known)
    assert (study.known_now.location, study.known_now.order_priority) == ("ICU", Priority.STAT)
    assert (study.accession_number, study.lost, study.in_work) == ("A1", None, False)
    assert [each.assessment for each in study.instances] == [image]
    assert study.asked == ((T0 + 2 * SECOND, Priority.URGENT),), "the decision was above the second order"


def test_whom_a_decision_was_for_and_who_had_been_told_before_is_remembered(story):
    story.receive()
    story.worklist.raise_flag(flag(), [shipment("2.25.1", "chat")], story.tick())
    story.complete()
    story.claim()
    story.decide(shipment("2.25.2", "pacs"), shipment("2.25.1", "chat"), routes=("chat", "pacs"))
    story.receive()
    story.complete()
    story.claim()
    story.decide(shipment("2.25.3", "ris"))
    study = story.worklist.decided_study(STUDY)
    assert [one.routes for one in study.revisions] == [("chat", "pacs"), ()]
    assert [one.told for one in study.revisions] == [{"chat"}, {"chat", "pacs"}]


def test_what_an_order_asks_for_later_is_remembered_with_its_time(story):
    story.decided(priority=Priority.ROUTINE)
    story.receive(accession_number="A1", patient_id="42")
    order(story, priority=Priority.STAT)
    study = story.worklist.decided_study(STUDY)
    assert study.asked == ((T0 + SECOND, Priority.ROUTINE), (story.now, Priority.STAT))
    assert study.in_work


def test_a_study_that_was_not_decided_has_no_history(story):
    story.receive()
    assert story.worklist.decided_study(STUDY) is None
    assert story.worklist.decided_study("9.9") is None
    assert story.worklist.studies_decided_since(T0) == []
