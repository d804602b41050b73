"""Orders on every worklist: kept as a RIS tells of them, and never lowering what is here."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from support.ordering import message, order
from support.story import LEASE, RULE, SECOND, STUDY, T0, decision, received, scored, shipment

from triage_agent.domain.orders import MergedPatient, Narrowing, OrderStatus, PatientUpdate
from triage_agent.domain.vocabulary import AuditAction, Priority, Status

EVERYTHING = Narrowing()
LATER = T0 + SECOND


def listed(worklist, narrowing=EVERYTHING, since=T0 - timedelta(days=1), most=100):
    return worklist.scheduled(narrowing, since, lambda _record: True, most)


def actions(worklist, study=STUDY):
    return [event.action for event in worklist.study(study).audit]


def came(worklist, **header):
    worklist.register(received(**{"accession_number": "A1", "patient_id": "P1", **header}), RULE)


def test_an_order_before_its_images_is_the_priority_at_arrival(worklist):
    worklist.keep_orders([order(priority=Priority.STAT)], message(at=T0))
    came(worklist, at=LATER)
    detail = worklist.study(STUDY)
    assert (detail.item.priority, detail.item.priority_at_arrival) == (Priority.STAT, Priority.STAT)
    assert AuditAction.ORDER_MATCHED in actions(worklist)
    assert detail.reasons == ("Its order (message M1 of RIS^H) asks for stat.",)


def test_a_study_that_begins_with_a_conflict_meets_its_order_too(worklist):
    worklist.register(received("1.2.2", "1.2.2.1"), RULE)
    worklist.keep_orders([order(priority=Priority.STAT)], message(at=T0))
    came(worklist, image="1.2.2.1", digest="b" * 64, at=LATER)
    item = worklist.study(STUDY).item
    assert (item.status, item.priority) == (Status.NEEDS_HUMAN, Priority.STAT)


def test_an_order_after_its_images_raises_the_study_and_says_so(worklist):
    came(worklist, at=T0)
    worklist.keep_orders([order(priority=Priority.URGENT)], message(at=LATER))
    detail = worklist.study(STUDY)
    assert (detail.item.priority, detail.item.priority_at_arrival) == (Priority.URGENT, Priority.ROUTINE)
    (raised,) = [event for event in detail.audit if event.action is AuditAction.PRIORITY_RAISED]
    assert (raised.actor, raised.detail["rule"], raised.detail["to"]) == ("RIS^H", "order", "urgent")
    assert detail.reasons == ("Its order (message M1 of RIS^H) asks for urgent.",)


def test_an_order_never_lowers(worklist):
    came(worklist, at=T0, requested_priority=Priority.STAT)
    worklist.keep_orders([order(priority=Priority.ROUTINE)], message(at=LATER))
    assert worklist.study(STUDY).item.priority is Priority.STAT


def test_a_change_to_a_lower_priority_leaves_the_study_as_it_was(worklist):
    worklist.keep_orders([order(priority=Priority.STAT)], message(at=T0))
    came(worklist, at=LATER)
    worklist.keep_orders([order(priority=Priority.ROUTINE)], message("M2", at=LATER))
    assert worklist.study(STUDY).item.priority is Priority.STAT
    assert [each.priority for each in worklist.orders()] == [Priority.ROUTINE]


def test_an_accession_number_of_another_patient_is_another_order(worklist):
    came(worklist, at=T0, patient_id="P9")
    worklist.keep_orders([order(priority=Priority.STAT)], message(at=LATER))
    assert worklist.study(STUDY).item.priority is Priority.ROUTINE


def test_an_order_that_states_a_study_is_of_that_one_whatever_the_patient(worklist):
    came(worklist, at=T0, accession_number="", patient_id="P9")
    worklist.keep_orders([order(study_instance_uid=STUDY, priority=Priority.STAT)], message(at=LATER))
    assert worklist.study(STUDY).item.priority is Priority.STAT


def test_an_accession_number_that_comes_with_a_later_image_finds_its_order(worklist):
    worklist.keep_orders([order(priority=Priority.URGENT)], message(at=T0))
    came(worklist, at=T0, accession_number="")
    assert worklist.study(STUDY).item.priority is Priority.ROUTINE
    came(worklist, image="1.2.1.2", at=LATER)
    assert worklist.study(STUDY).item.priority is Priority.URGENT


def test_the_same_message_again_changes_nothing(worklist):
    came(worklist, at=T0)
    first = worklist.keep_orders([order(priority=Priority.URGENT)], message(at=LATER))
    told = actions(worklist)
    assert worklist.keep_orders([order(priority=Priority.URGENT)], message("M2", at=LATER + SECOND)) == first
    assert actions(worklist) == told
    assert len(worklist.orders()) == 1


def test_what_a_message_does_not_say_stays_and_what_it_strikes_out_goes(worklist):
    worklist.keep_orders([order()], message(at=T0))
    change = replace(order(), modality=None, priority=None, procedure_description="")
    (changed,) = worklist.keep_orders([change], message("M2", at=LATER))
    assert (changed.modality, changed.procedure_description) == ("DX", "")
    assert worklist.orders() == [changed]
    assert (changed.control_id, changed.changed_at, changed.received_at) == ("M2", LATER, T0)


def test_a_placer_number_alone_finds_its_order_later(worklist):
    worklist.keep_orders([order(filler_order_number=None, accession_number=None)], message(at=T0))
    worklist.keep_orders([order()], message("M2", at=LATER))
    assert [(each.filler_order_number, each.accession_number) for each in worklist.orders()] == [("F1", "A1")]


def test_two_procedures_of_one_accession_number_are_two_orders_and_one_raises(worklist):
    came(worklist, at=T0)
    second = order(filler_order_number="F2", placer_order_number="PL2", requested_procedure_id="RP2")
    worklist.keep_orders([order(), replace(second, priority=Priority.STAT)], message(at=LATER))
    assert len(worklist.orders()) == 2
    assert worklist.study(STUDY).item.priority is Priority.STAT
    assert {each.study_here for each in worklist.orders()} == {STUDY}


def test_a_cancelled_order_only_says_so(worklist):
    worklist.keep_orders([order(priority=Priority.STAT)], message(at=T0))
    came(worklist, at=LATER)
    worklist.keep_orders([order(priority=None, status=OrderStatus.CANCELLED)], message("M2", at=LATER))
    detail = worklist.study(STUDY)
    assert (detail.item.priority, detail.item.status.value) == (Priority.STAT, "receiving")
    assert detail.reasons == ("Its order (message M2 of RIS^H) was cancelled.",)


def test_an_order_that_was_cancelled_before_raises_nothing(worklist):
    worklist.keep_orders([order(priority=Priority.STAT, status=OrderStatus.CANCELLED)], message(at=T0))
    came(worklist, at=LATER)
    assert worklist.study(STUDY).item.priority is Priority.ROUTINE


def test_a_merge_renames_studies_and_orders_and_is_audited(worklist):
    came(worklist, at=T0, patient_name="Doe^Jane")
    worklist.register(received("1.2.2", "1.2.2.1", patient_id="P9", patient_name="Roe^Rick"), RULE)
    worklist.keep_orders([order()], message(at=T0))
    into = PatientUpdate(patient_id="P7", patient_name="Roe^Jane")
    assert worklist.merge_patient(["P1"], into, message("M2", at=LATER)) == [STUDY]
    item, other = worklist.study(STUDY).item, worklist.study("1.2.2").item
    assert (item.patient_id, item.patient_name, other.patient_id) == ("P7", "Roe^Jane", "P9")
    assert [(each.patient_id, each.patient_name) for each in worklist.orders()] == [("P7", "Roe^Jane")]
    event = worklist.study(STUDY).audit[-1]
    assert (event.action, event.detail) == (AuditAction.PATIENT_MERGED, {"message": "M2"})
    assert worklist.merge_patient(["P1"], into, message("M3", at=LATER)) == []


def decided(worklist, at=LATER):
    """A study that has been told of."""
    came(worklist, at=T0, patient_name="Doe^Jane")
    (view,) = worklist.due_for_completion(T0 + timedelta(hours=1))
    worklist.complete(view, "quiet", at)
    claimed = worklist.claim_study("w1", at, LEASE)
    assert worklist.decide(decision(at=at), [scored("1.2.1.1")], [shipment()], "w1")
    for delivery in worklist.claim_deliveries("s1", at, LEASE, 10):
        worklist.delivery_sent(delivery, at)
    return claimed


def completed_again(worklist, at):
    (view,) = worklist.due_for_completion(at)
    assert worklist.complete(view, "quiet", at)
    return worklist.claim_study("w1", at, LEASE)


INTO = PatientUpdate(patient_id="P7", patient_name="Roe^Jane")


def test_a_merge_that_is_to_be_told_makes_the_results_again_for_the_other_patient(worklist):
    assert decided(worklist).merged is None
    worklist.merge_patient(["P1"], INTO, message("M2", at=LATER), reissue=True)
    item = worklist.study(STUDY).item
    assert (item.status, item.revision) == (Status.RECEIVING, 2)
    assert "merged" in item.status_reason
    claimed = completed_again(worklist, LATER + SECOND)
    assert (claimed.revision, claimed.merged) == (2, MergedPatient(prior_ids=("P1",), into=INTO))
    assert [one.assessment.probability for one in claimed.instances] == [0.7]  # nothing is scored again


def test_a_merge_that_is_not_to_be_told_leaves_what_was_told(worklist):
    decided(worklist)
    worklist.merge_patient(["P1"], INTO, message("M2", at=LATER))
    item = worklist.study(STUDY).item
    assert (item.status, item.revision, item.patient_id) == (Status.DELIVERED, 1, "P7")


def test_a_merge_before_the_decision_is_what_it_names(worklist):
    came(worklist, at=T0)
    worklist.merge_patient(["P1"], INTO, message("M2", at=T0))
    worklist.merge_patient(["P7"], PatientUpdate(patient_id="P8"), message("M3", at=T0))
    (view,) = worklist.due_for_completion(T0 + timedelta(hours=1))
    worklist.complete(view, "quiet", LATER)
    claimed = worklist.claim_study("w1", LATER, LEASE)
    assert claimed.merged == MergedPatient(prior_ids=("P1", "P7"), into=PatientUpdate(patient_id="P8"))


def test_a_merge_while_a_study_is_decided_begins_it_again(worklist):
    came(worklist, at=T0)
    (view,) = worklist.due_for_completion(T0 + timedelta(hours=1))
    worklist.complete(view, "quiet", LATER)
    worklist.claim_study("w1", LATER, LEASE)
    worklist.merge_patient(["P1"], INTO, message("M2", at=LATER))
    assert not worklist.decide(decision(), [], [], "w1")
    claimed = completed_again(worklist, LATER + SECOND)
    assert (claimed.revision, claimed.merged.into) == (1, INTO)


def test_a_study_whose_originals_are_gone_is_not_told_again(worklist):
    decided(worklist)
    assert worklist.forget_originals(STUDY, LATER, LATER)
    worklist.merge_patient(["P1"], INTO, message("M2", at=LATER), reissue=True)
    assert worklist.study(STUDY).item.revision == 1


def test_an_update_writes_the_name_and_where_the_patient_of_an_open_order_is(worklist):
    came(worklist, at=T0, patient_name="Doe^Jane")
    worklist.keep_orders([order(patient_class="I")], message(at=T0))
    update = PatientUpdate(patient_id="P1", patient_name="Doe^Janet", patient_class="E", patient_location="ED")
    assert worklist.update_patient(update, message("M2", at=LATER)) == 1
    assert worklist.study(STUDY).item.patient_name == "Doe^Janet"
    (known,) = worklist.orders()
    assert (known.patient_name, known.patient_class, known.patient_location) == ("Doe^Janet", "E", "ED")
    assert worklist.update_patient(update, message("M3", at=LATER)) == 0


def test_the_list_has_orders_that_are_waited_for_and_studies_with_and_without_one(worklist):
    came(worklist, at=T0)
    worklist.register(received("1.2.2", "1.2.2.1", at=LATER, patient_id="P9", requested_priority=Priority.STAT), RULE)
    waiting = order(filler_order_number="F2", placer_order_number="PL2", accession_number="A2")
    worklist.keep_orders([order(), waiting], message(at=LATER))
    found = [(each.study_here, each.accession_number, each.priority) for each in listed(worklist)]
    assert found == [
        ("1.2.2", "", Priority.STAT),
        (STUDY, "A1", Priority.ROUTINE),
        ("", "A2", Priority.ROUTINE),
    ]


@pytest.mark.parametrize(
    ("narrowing", "expected"),
    [
        (Narrowing(accession_number="A2"), ["A2"]),
        (Narrowing(patient_id="P1"), ["A1", "A2"]),
        (Narrowing(study_instance_uids=(STUDY,)), ["A1"]),
        (Narrowing(scheduled_from="20260302"), ["", "A2"]),
        (Narrowing(scheduled_to="20260301"), ["", "A1"]),
    ],
)
def test_what_is_looked_up_is_found(worklist, narrowing, expected):
    came(worklist, at=T0)
    worklist.register(received("1.2.2", "1.2.2.1", at=T0, patient_id="P9"), RULE)
    waiting = order(
        filler_order_number="F2", placer_order_number="PL2", accession_number="A2", scheduled_date="20260302"
    )
    worklist.keep_orders([order(), waiting], message(at=LATER))
    assert sorted(each.accession_number for each in listed(worklist, narrowing)) == expected


def test_what_is_old_is_not_listed(worklist):
    came(worklist, at=T0)
    waiting = order(filler_order_number="F2", placer_order_number="PL2", accession_number="A2")
    worklist.keep_orders([order(), waiting], message(at=T0))
    assert listed(worklist, since=T0 + timedelta(days=2)) == []
    assert [each.accession_number for each in listed(worklist, since=T0)] == ["A1", "A2"]


def test_no_more_than_asked_for_are_listed_and_only_those_that_fit(worklist):
    for number in range(4):
        numbers = {"filler_order_number": f"F{number}", "placer_order_number": None, "accession_number": f"A{number}"}
        worklist.keep_orders([order(**numbers)], message(at=T0))
    fitting = worklist.scheduled(EVERYTHING, T0, lambda record: record.accession_number != "A0", 2)
    assert [each.accession_number for each in fitting] == ["A1", "A2"]


def test_an_order_and_its_image_that_come_at_once_do_not_miss_each_other(worklist):
    """Neither sees what the other has not committed: they take turns."""
    for number in range(12):
        together, uid = threading.Barrier(2), f"1.2.{number}"
        image = received(uid, f"{uid}.1", at=T0, accession_number=f"A{number}", patient_id="P1")
        told = order(
            filler_order_number=f"F{number}",
            placer_order_number=None,
            accession_number=f"A{number}",
            priority=Priority.STAT,
        )

        def come(image=image, together=together):
            together.wait(10)
            worklist.register(image, RULE)

        def tell(told=told, together=together):
            together.wait(10)
            worklist.keep_orders([told], message(at=T0))

        threads = [threading.Thread(target=work) for work in (come, tell)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert worklist.study(uid).item.priority is Priority.STAT
        assert uid in {each.study_here for each in worklist.orders()}
