"""Images, orders and merges of one patient at once on Postgres: all lock in one order, and nobody waits in a circle."""

import threading

import pytest
from sqlalchemy import event, text
from support.ordering import message, order
from support.story import RULE, SECOND, T0, received

from triage_agent.domain.orders import PatientUpdate
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist import SqlWorklist, open_engine

pytestmark = pytest.mark.external

LATER = T0 + SECOND
ROUNDS = 12


@pytest.fixture
def engine(postgres_url):
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def deadlocked(engine, postgres_url):
    """How many transactions Postgres has ended since, by its own count and by what they were told."""
    told = []

    @event.listens_for(engine, "handle_error")
    def note(context):
        if getattr(context.original_exception, "sqlstate", "") == "40P01":
            told.append(context.statement)

    def counted():
        fresh = open_engine(postgres_url)
        with fresh.connect() as connection:
            asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            number = connection.scalar(text(asked))
        fresh.dispose()
        return number

    before = counted()

    def since():
        engine.dispose()  # a session that ends has told what it counted
        return counted() - before, told

    return since


def at_once(*works):
    """Begin all of them in the same instant; what one of them raises fails the test."""
    barrier, failed = threading.Barrier(len(works)), []

    def run(work):
        try:
            barrier.wait(30)
            work()
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_an_image_with_a_patient_s_other_number_and_the_merge_of_both(engine, deadlocked):
    worklist = SqlWorklist(engine)
    for number in range(ROUNDS):
        study, one, other = f"1.2.{number}", f"P{number}", f"Q{number}"
        worklist.register(received(study, f"{study}.1", patient_id=one), RULE)
        at_once(
            lambda study=study, other=other: worklist.register(
                received(study, f"{study}.2", at=LATER, patient_id=other), RULE
            ),
            lambda one=one, other=other, number=number: worklist.merge_patient(
                [one], PatientUpdate(patient_id=other), message(f"M{number}", LATER)
            ),
        )
        assert worklist.study(study).item.patient_id == other
    assert deadlocked() == (0, [])


def test_an_image_that_brings_the_number_of_an_order_and_a_change_of_that_order_by_another_number(engine, deadlocked):
    worklist = SqlWorklist(engine)
    for number in range(ROUNDS):
        study, accession, placer = f"1.2.{number}", f"A{number}", f"PL{number}"
        patient = f"P{number}"
        named = {"placer_order_number": placer, "filler_order_number": None, "patient_id": patient}
        worklist.register(received(study, f"{study}.1", patient_id=patient), RULE)
        told = order(**named, accession_number=accession, study_instance_uid=study)
        worklist.keep_orders([told], message(f"M{number}", T0))
        change = order(**named | {"patient_id": None}, accession_number=None, priority=Priority.STAT)
        image = received(study, f"{study}.2", at=LATER, patient_id=patient, accession_number=accession)
        at_once(
            lambda image=image: worklist.register(image, RULE),
            lambda change=change, number=number: worklist.keep_orders([change], message(f"N{number}", LATER)),
        )
        assert worklist.study(study).item.priority is Priority.STAT
    assert deadlocked() == (0, [])


def test_an_image_of_a_patient_who_was_merged_and_the_merge_back(engine, deadlocked):
    worklist = SqlWorklist(engine)
    for number in range(ROUNDS):
        one, other = f"P{number}", f"Q{number}"
        worklist.merge_patient([one], PatientUpdate(patient_id=other), message(f"M{number}", T0))
        images = [received(f"1.{n}.{number}", f"1.{n}.{number}.1", at=LATER, patient_id=one) for n in range(2)]
        at_once(
            *(lambda image=image: worklist.register(image, RULE) for image in images),
            lambda one=one, other=other, number=number: worklist.merge_patient(
                [other], PatientUpdate(patient_id=one), message(f"N{number}", LATER)
            ),
        )
        assert {worklist.study(f"1.{n}.{number}").item.patient_id for n in range(2)} == {one}
    assert deadlocked() == (0, [])
