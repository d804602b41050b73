"""Merges of patients on every worklist: whatever comes first, an order finds its study, and both show who it is now."""

from itertools import permutations

import pytest
from support.ordering import message, order
from support.story import RULE, SECOND, STUDY, T0, failed, received, shipment

from triage_agent.domain.orders import MergedPatient, PatientUpdate
from triage_agent.domain.vocabulary import AuditAction, Event, Priority, Status

INTO = PatientUpdate(patient_id="P7", patient_name="Roe^Jane")
WAYS = list(permutations(("order", "merge", "images")))


def came(worklist, at=T0, study=STUDY, image="1.2.1.1", **header):
    values = {"accession_number": "A1", "patient_id": "P1", "patient_name": "Doe^Jane", **header}
    worklist.register(received(study, image, at, **values), RULE)


def tell(worklist, way, ordered_for="P1", imaged_as="P1"):
    """The three things, in the order that is asked for, a second apart."""
    for number, what in enumerate(way):
        at = T0 + number * SECOND
        if what == "order":
            told = order(patient_id=ordered_for, study_instance_uid=None, priority=Priority.STAT)
            worklist.keep_orders([told], message("O1", at))
        elif what == "merge":
            worklist.merge_patient(["P1"], INTO, message("M1", at))
        else:
            came(worklist, at, patient_id=imaged_as)


@pytest.mark.parametrize("imaged_as", ["P1", "P7"])
@pytest.mark.parametrize("ordered_for", ["P1", "P7"])
@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_no_merge_comes_between_an_order_and_its_images(worklist, way, ordered_for, imaged_as):
    tell(worklist, way, ordered_for, imaged_as)
    item = worklist.study(STUDY).item
    assert (item.priority, item.patient_id) == (Priority.STAT, "P7")
    assert [(each.patient_id, each.study_here) for each in worklist.orders()] == [("P7", STUDY)]


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_whatever_came_first_results_of_images_with_the_old_number_name_who_it_is_now(worklist, way):
    tell(worklist, way)
    assert worklist.merged_of(STUDY) == MergedPatient(prior_ids=("P1",), into=INTO)
    item = worklist.study(STUDY).item
    assert item.patient_name == "Roe^Jane"
    told = [event for event in worklist.study(STUDY).audit if event.action is AuditAction.PATIENT_MERGED]
    assert [(event.actor, event.detail) for event in told] == [("RIS^H", {"message": "M1"})]


P1_TO_P2 = PatientUpdate(patient_id="P2", patient_name="Poe^Ann")


def test_a_misfiled_image_brings_no_merge_of_its_own_patient_into_a_study_that_was_merged(worklist):
    """Else results of one patient's images would name another, whose numbers were merged for reasons of their own."""
    came(worklist, T0, patient_id="A")
    worklist.merge_patient(["A"], INTO, message("M1", T0 + SECOND))
    worklist.merge_patient(["P1"], P1_TO_P2, message("M2", T0 + 2 * SECOND))
    came(worklist, T0 + 3 * SECOND, image="1.2.1.2", patient_id="P1")
    assert worklist.merged_of(STUDY) == MergedPatient(prior_ids=("A",), into=INTO)
    assert (worklist.study(STUDY).item.patient_id, worklist.study(STUDY).item.patient_name) == ("P7", "Roe^Jane")


def test_a_misfiled_image_s_merge_is_not_taken_along_by_a_later_one_of_the_study_s_patient(worklist):
    worklist.merge_patient(["P1"], P1_TO_P2, message("M1", T0))
    came(worklist, T0 + SECOND, patient_id="X")
    came(worklist, T0 + 2 * SECOND, image="1.2.1.2", patient_id="P1")
    assert worklist.merged_of(STUDY) is None
    worklist.merge_patient(["X"], INTO, message("M2", T0 + 3 * SECOND))
    assert worklist.merged_of(STUDY) == MergedPatient(prior_ids=("X",), into=INTO)


def test_images_that_name_the_patient_as_now_have_nothing_merged(worklist):
    tell(worklist, ("merge", "images"), imaged_as="P7")
    assert worklist.merged_of(STUDY) is None
    assert worklist.study(STUDY).item.patient_name == "Doe^Jane"
    assert worklist.merged_of("1.2.9") is None


def test_a_merge_of_merges_is_followed_to_its_end(worklist):
    worklist.merge_patient(["P1"], INTO, message("M1", T0))
    worklist.merge_patient(["P7"], PatientUpdate(patient_id="P8"), message("M2", T0))
    came(worklist)
    worklist.keep_orders([order(patient_id="P1", priority=Priority.URGENT)], message("O1", T0 + SECOND))
    item = worklist.study(STUDY).item
    assert (item.priority, item.patient_id, item.patient_name) == (Priority.URGENT, "P8", "Doe^Jane")
    expected = MergedPatient(prior_ids=("P1", "P7"), into=PatientUpdate(patient_id="P8"))
    assert worklist.merged_of(STUDY) == expected


def test_a_merge_that_is_taken_back_is_no_circle(worklist):
    worklist.merge_patient(["P1"], INTO, message("M1", T0))
    worklist.merge_patient(["P7"], PatientUpdate(patient_id="P1", patient_name="Doe^Jane"), message("M2", T0))
    came(worklist, study="1.2.1", image="1.2.1.1", patient_id="P1")
    came(worklist, study="1.2.2", image="1.2.2.1", patient_id="P7", accession_number="A2")
    assert [worklist.study(uid).item.patient_id for uid in ("1.2.1", "1.2.2")] == ["P1", "P1"]


def test_a_later_image_with_the_old_number_is_the_same_patient_s(worklist):
    came(worklist, patient_id="P7")
    worklist.merge_patient(["P1"], INTO, message("M1", T0))
    came(worklist, T0 + SECOND, image="1.2.1.2", patient_id="P1")
    assert worklist.merged_of(STUDY) == MergedPatient(prior_ids=("P1",), into=INTO)
    told = len(worklist.study(STUDY).audit)
    came(worklist, T0 + SECOND, image="1.2.1.3", patient_id="P1")
    merged = [event for event in worklist.study(STUDY).audit[told:] if event.action is AuditAction.PATIENT_MERGED]
    assert merged == []


def test_a_study_that_begins_with_a_conflict_is_the_patient_s_of_the_merge_too(worklist):
    worklist.register(received("1.2.2", "1.2.2.1"), RULE)
    worklist.merge_patient(["P1"], INTO, message("M1", T0))
    worklist.register(received(STUDY, "1.2.2.1", T0, "b" * 64, patient_id="P1"), RULE)
    assert worklist.study(STUDY).item.patient_id == "P7"


@pytest.mark.parametrize("way", list(permutations(("order", "update", "images"))), ids="-".join)
def test_an_update_of_the_patient_loses_no_priority(worklist, way):
    for number, what in enumerate(way):
        at = T0 + number * SECOND
        if what == "order":
            worklist.keep_orders([order(priority=Priority.STAT)], message("O1", at))
        elif what == "update":
            worklist.update_patient(PatientUpdate(patient_id="P1", patient_name="Doe^Janet"), message("U1", at))
        else:
            came(worklist, at)
    assert worklist.study(STUDY).item.priority is Priority.STAT


def test_an_update_of_the_number_that_was_given_up_brings_it_not_back(worklist):
    worklist.merge_patient(["P1"], INTO, message("M1", T0))
    came(worklist)
    worklist.keep_orders([order(priority=Priority.STAT)], message("O1", T0))
    assert worklist.update_patient(PatientUpdate(patient_id="P1", patient_name="Old^Name"), message("U1", T0)) == 0
    item = worklist.study(STUDY).item
    assert (item.patient_id, item.patient_name, item.priority) == ("P7", "Roe^Jane", Priority.STAT)


def test_the_same_order_again_after_a_merge_changes_nothing(worklist):
    tell(worklist, ("merge", "order", "images"))
    told = worklist.orders()
    again = order(patient_id="P1", study_instance_uid=None, priority=Priority.STAT)
    worklist.keep_orders([again], message("O2", T0 + 5 * SECOND))
    assert worklist.orders() == told


def merged_with_reissue(story):
    story.worklist.merge_patient(["P1"], INTO, message("M1", story.tick()), reissue=True)
    item = story.item()
    return item.status, item.revision


@pytest.mark.parametrize("event", [Event.FAILED, Event.EXCLUDED])
def test_what_was_told_of_a_study_that_nobody_scored_is_told_again_after_a_merge(story, event):
    story.claimed(patient_id="P1")
    assert story.decide(shipment("2.25.1"), event=event, status_reason="why", assessments=[failed("1.2.1.1")])
    assert merged_with_reissue(story) == (Status.RECEIVING, 2)
    story.complete()
    claimed = story.claim()
    assert (claimed.revision, claimed.merged.into) == (2, INTO)
    assert [one.assessment for one in claimed.instances] == [failed("1.2.1.1")]  # it is not scored again
    assert story.decide(shipment("2.25.2"), event=event, status_reason="why")


def test_a_study_that_needs_a_human_of_which_nothing_was_told_is_looked_at_again_since_it_may_be_by_the_merge(story):
    story.claimed(patient_id="P1")
    story.decide(event=Event.FAILED, status_reason="several patients")
    assert merged_with_reissue(story) == (Status.RECEIVING, 2)


def test_a_study_out_of_scope_of_which_nothing_was_told_is_left_alone(story):
    story.claimed(patient_id="P1")
    story.decide(event=Event.EXCLUDED, status_reason="a chest")
    assert merged_with_reissue(story) == (Status.OUT_OF_SCOPE, 1)


def test_a_study_of_which_no_image_could_be_kept_is_not_begun_again(story):
    story.worklist.register(received("1.2.2", "1.2.2.1"), RULE)
    story.worklist.register(received(STUDY, "1.2.2.1", T0, "b" * 64, patient_id="P1"), RULE)
    assert merged_with_reissue(story) == (Status.NEEDS_HUMAN, 1)
    assert story.item().patient_id == "P7"


@pytest.mark.parametrize("event", [Event.FAILED, Event.EXCLUDED, Event.DECIDED])
def test_without_the_site_s_wish_nothing_is_told_again(story, event):
    story.claimed(patient_id="P1")
    story.decide(shipment("2.25.1"), event=event, status_reason="why")
    before = story.status()
    story.worklist.merge_patient(["P1"], INTO, message("M1", story.tick()))
    assert (story.status(), story.item().revision, story.item().patient_id) == (before, 1, "P7")
