"""Two connections to Postgres that bring an order and its images, in every order of their commits: no raise is lost."""

import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from support.ordering import message, order
from support.story import RULE, SECOND, STUDY, T0, received

from triage_agent.domain.orders import PatientUpdate
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist import SqlWorklist, open_engine
from triage_agent.worklist.ordering import _keep_all, _merge
from triage_agent.worklist.registration import register

pytestmark = pytest.mark.external

LATER = T0 + SECOND
IMAGE = received(accession_number="A1", patient_id="P1", at=LATER)
# As a RIS changes an order: by the number that its placer gave it, and nothing else.
CHANGE = order(
    filler_order_number=None, accession_number=None, patient_id=None, placer_order_number="PL1", priority=Priority.STAT
)


@pytest.fixture
def engine(postgres_url):
    engine = open_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def worklist(engine):
    worklist = SqlWorklist(engine)
    worklist.keep_orders([order()], message("M1", T0))
    return worklist


def comes(session):
    register(session, IMAGE, RULE)


def is_changed(session):
    _keep_all(session, [CHANGE], message("M2", LATER))


def is_ordered(session):
    told = order(filler_order_number="F2", placer_order_number="PL2", accession_number="A1", priority=Priority.STAT)
    _keep_all(session, [told], message("M2", LATER))


def is_merged(session):
    _merge(session, ["P1"], PatientUpdate(patient_id="P7"), message("M3", LATER), reissue=False)


def one_waits_for_the_other(engine, first, second):
    """`second` begins while `first` has written and not committed; both are through afterwards."""
    failed = []

    def follow():
        try:
            with Session(engine) as session, session.begin():
                second(session)
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failed.append(error)

    with Session(engine) as session, session.begin():
        first(session)
        session.flush()
        thread = threading.Thread(target=follow)
        thread.start()
        wait_for_a_lock(engine, thread)
    thread.join(30)
    assert not thread.is_alive()
    assert failed == []


def wait_for_a_lock(engine, thread):
    """Until the other transaction waits for this one, or is through without waiting."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    until = time.monotonic() + 20
    with engine.connect() as connection:
        while thread.is_alive() and time.monotonic() < until:
            if connection.scalar(waiting):
                return
            connection.rollback()
            time.sleep(0.01)


@pytest.mark.parametrize("patient_id", ["P1", None])  # where an order names none, only its numbers are in common
@pytest.mark.parametrize(
    ("first", "second"), [(comes, is_changed), (is_changed, comes), (comes, is_ordered), (is_ordered, comes)]
)
def test_an_order_s_raise_and_its_images_do_not_miss_each_other(engine, worklist, first, second, patient_id):
    worklist.keep_orders([order(patient_id=patient_id or "")], message("M1", T0))
    one_waits_for_the_other(engine, first, second)
    assert worklist.study(STUDY).item.priority is Priority.STAT
    assert {each.study_here for each in worklist.orders()} == {STUDY}


@pytest.mark.parametrize(("first", "second"), [(comes, is_merged), (is_merged, comes)])
def test_a_merge_and_the_images_that_it_is_about_do_not_miss_each_other(engine, worklist, first, second):
    one_waits_for_the_other(engine, first, second)
    assert worklist.study(STUDY).item.patient_id == "P7"
    assert [(each.patient_id, each.study_here) for each in worklist.orders()] == [("P7", STUDY)]


@pytest.mark.parametrize(("first", "second"), [(is_ordered, is_merged), (is_merged, is_ordered)])
def test_a_merge_and_an_order_that_it_is_about_do_not_miss_each_other(engine, worklist, first, second):
    one_waits_for_the_other(engine, first, second)
    worklist.register(IMAGE, RULE)
    assert worklist.study(STUDY).item.priority is Priority.STAT
    assert {each.patient_id for each in worklist.orders()} == {"P7"}
