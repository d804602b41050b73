"""Messages that merge or rename a patient, before, between and after an order and its images."""

from itertools import permutations

import pytest
from support.hl7 import build, omi, said
from support.story import RULE, STUDY, T0, received

from triage_agent.domain.vocabulary import Priority
from triage_agent.hl7in.desk import MERGES, UPDATES, Hl7Desk
from triage_agent.worklist import MemoryWorklist

WITHOUT_UID = "IPC|A1|RP1||S1|DX||Room 1||DX1"  # so that number and patient alone bring order and study together
WAYS = list(permutations(("order", "patient", "images")))


@pytest.fixture
def worklist():
    return MemoryWorklist()


@pytest.fixture
def desk(worklist):
    return Hl7Desk(worklist, lambda: T0)


def tell(desk, worklist, way, about_the_patient):
    for what in way:
        if what == "order":
            assert said(desk.answer(omi(WITHOUT_UID)))[0] == "AA"
        elif what == "patient":
            assert said(desk.answer(about_the_patient))[0] == "AA"
        else:
            worklist.register(received(accession_number="A1", patient_id="P1", patient_name="Doe^Jane"), RULE)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("event", sorted(MERGES))
def test_no_merge_takes_an_order_s_priority_from_its_images(desk, worklist, event, way):
    tell(desk, worklist, way, build("PID|||P7^^^ADT^MR||Roe^Jane", "MRG|P1^^^ADT^MR", kind=f"ADT^{event}"))
    item = worklist.study(STUDY).item
    assert (item.priority, item.patient_id, item.patient_name) == (Priority.STAT, "P7", "Roe^Jane")


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("event", sorted(UPDATES))
def test_no_update_takes_an_order_s_priority_from_its_images(desk, worklist, event, way):
    tell(desk, worklist, way, build("PID|||P1^^^ADT^MR||Doe^Janet", kind=f"ADT^{event}"))
    item = worklist.study(STUDY).item
    assert (item.priority, item.patient_id) == (Priority.STAT, "P1")


def test_a_message_that_merges_more_patients_than_any_hospital_does_is_refused(desk, worklist):
    worklist.register(received(patient_id="1"), RULE)
    pairs = [line for number in range(201) for line in ("PID|||P7", f"MRG|{number}")]
    assert said(desk.answer(build(*pairs, kind="ADT^A40"))) == ("AR", "M1", "102")
    assert worklist.study(STUDY).item.patient_id == "1"
    assert said(desk.answer(build(*pairs[:400], kind="ADT^A40")))[0] == "AA"
    assert worklist.study(STUDY).item.patient_id == "P7"
