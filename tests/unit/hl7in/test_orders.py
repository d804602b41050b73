"""What is read from messages about orders and patients."""

import pytest
from support.hl7 import EXAMPLES, OBR, ORC, PID, build, omi

from triage_agent.domain.orders import OrderStatus
from triage_agent.domain.priorities import PriorityWords
from triage_agent.domain.vocabulary import Priority
from triage_agent.hl7in.message import InvalidMessageError, parse
from triage_agent.hl7in.orders import orders_of
from triage_agent.hl7in.patients import Reading, date_and_time


def only(message, **reading):
    (order,) = orders_of(parse(message), Reading(**reading))
    return order


def test_everything_that_a_message_states_is_read():
    order = only(omi())
    assert (order.placer_order_number, order.filler_order_number, order.accession_number) == ("PL1", "F1", "A1")
    assert (order.study_instance_uid, order.requested_procedure_id, order.scheduled_step_id) == ("1.2.3", "RP1", "S1")
    assert (order.patient_id, order.issuer_of_patient_id, order.patient_name) == ("P1", "ADT", "Doe^Jane^A^Dr^Jr")
    assert (order.patient_birth_date, order.patient_sex) == ("19700301", "F")
    assert (order.patient_class, order.patient_location, order.admission_id) == ("E", "ED R1 B2 MAIN", "V77")
    assert (order.procedure_code, order.procedure_coding_scheme) == ("KNEE2", "99H")
    assert order.procedure_description == "Knee, two views"
    assert order.indication == "Pain in the knee; Gonalgia; Fell from a ladder"
    assert (order.referring_physician, order.ordering_physician) == ("Refer^Rita^^Dr", "Order^Otto")
    assert (order.scheduled_date, order.scheduled_time) == ("20260301", "100500")
    assert (order.scheduled_station_ae_title, order.scheduled_station_name) == ("DX1\\DX2", "Room 1")
    assert (order.modality, order.priority, order.status) == ("DX", Priority.STAT, OrderStatus.SCHEDULED)


def test_an_older_message_says_the_same_without_the_newer_segments():
    order = only(omi("TQ1", "IPC", "ZDS|1.2.3^100^Application^DICOM", kind="ORM^O01", version="2.3.1"))
    assert (order.accession_number, order.study_instance_uid, order.modality) == ("A1", "1.2.3", "DX")
    assert (order.priority, order.scheduled_time) == (Priority.STAT, "100000")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("S", Priority.STAT),
        ("A", Priority.URGENT),
        ("R", Priority.ROUTINE),
        ("P", Priority.ROUTINE),
        ("T", Priority.ROUTINE),
        ("TM30", Priority.ROUTINE),
        ("stat", Priority.STAT),
        ("Urgent", Priority.URGENT),
        ("", None),
        ("RequestedProcedurePriority", None),
    ],
)
def test_priorities_are_those_of_the_table_and_words_that_systems_write(word, expected):
    message = omi(
        f"TQ1|||||||||{word}", ORC.replace("^^^20260301100000^^S", ""), OBR.replace("^^^20260301100000^^S", "")
    )
    assert only(message).priority is expected


@pytest.mark.parametrize(
    ("word", "expected"), [("Notfall", Priority.STAT), ("P", Priority.URGENT), ("S", Priority.STAT)]
)
def test_a_site_s_own_words_go_before_the_table_s(word, expected):
    words = PriorityWords.of({Priority.STAT: ["NOTFALL"], Priority.URGENT: ["P"]})
    message = omi(
        f"TQ1|||||||||{word}", ORC.replace("^^^20260301100000^^S", ""), OBR.replace("^^^20260301100000^^S", "")
    )
    assert only(message, words=words).priority is expected


@pytest.mark.parametrize(
    ("orc", "expected"),
    [
        ("ORC|NW|PL1|F1", OrderStatus.SCHEDULED),
        ("ORC|XO|PL1|F1", None),
        ("ORC|XO|PL1|F1||CM", OrderStatus.COMPLETED),
        ("ORC|CA|PL1|F1", OrderStatus.CANCELLED),
        ("ORC|OC|PL1|F1||IP", OrderStatus.CANCELLED),
        ("ORC|DC|PL1|F1", OrderStatus.CANCELLED),
        ("ORC|SC|PL1|F1||CA", OrderStatus.CANCELLED),
        ("ORC|RP|PL1|F1", OrderStatus.CANCELLED),
    ],
)
def test_control_code_and_status_say_where_an_order_is(orc, expected):
    assert only(omi(orc)).status is expected


def test_each_procedure_is_an_order_and_a_study_uid_at_the_end_is_of_all():
    second = OBR.replace("|F1|", "|F2|").replace("RP1", "RP2")
    message = build(PID, ORC, OBR, second, "ZDS|1.2.3", kind="ORM^O01")
    orders = orders_of(parse(message), Reading())
    assert [order.filler_order_number for order in orders] == ["F1", "F2"]
    assert {order.study_instance_uid for order in orders} == {"1.2.3"}
    assert {order.placer_order_number for order in orders} == {"PL1"}


def test_a_site_says_where_the_accession_number_is_and_whose_patient_numbers_images_carry():
    order = only(omi(), accession=("OBR", 2), assigning_authority="NATIONAL")
    assert (order.accession_number, order.patient_id, order.issuer_of_patient_id) == ("PL1", "99", "NATIONAL")
    assert only(omi(), assigning_authority="ELSEWHERE").patient_id is None


def test_the_fillers_number_is_the_accession_number_where_none_is_stated():
    assert only(omi("IPC", OBR.replace("|A1|", "||"))).accession_number == "F1"


def test_what_is_no_uid_is_left_out():
    assert only(omi("IPC|A1|RP1|to be done")).study_instance_uid is None


@pytest.mark.parametrize("segments", [(PID,), (PID, "ORC|NW"), (PID, "OBR|1")])
def test_a_message_that_names_no_order_is_refused(segments):
    with pytest.raises(InvalidMessageError):
        orders_of(parse(build(*segments, kind="ORM^O01")), Reading())


def test_a_name_in_several_writings_is_one_value():
    pid = "PID|||P1||Yamada^Tarou^^^^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"
    assert only(omi(pid)).patient_name == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_a_name_cannot_smuggle_in_delimiters():
    assert only(omi("PID|||P1||D\\S\\oe^J\\E\\ane=x")).patient_name == "D oe^J/ane x"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("20260301", ("20260301", None)),
        ("202603011405", ("20260301", "140500")),
        ("20260301140502.123+0100", ("20260301", "140502")),
        ("2026030114", ("20260301", "140000")),
        ("2026", (None, None)),
        ("20261301", (None, None)),
        ("202603019900", ("20260301", None)),
        ("tomorrow", (None, None)),
        ("", ("", "")),
        (None, (None, None)),
    ],
)
def test_times_are_read_as_far_as_they_go(stated, expected):
    assert date_and_time(stated) == expected


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["OMI^O23-ImagingOrder", "ORM^O01-GeneralOrder", "OMG^O19-GeneralClinicalOrder-Eyecare"]
)
def test_dcm4ches_examples_are_read(name):
    path = EXAMPLES / f"{name}.hl7"
    if not path.exists():
        pytest.skip("../shared is absent")
    order = only(path.read_bytes())
    assert (order.accession_number, order.requested_procedure_id) == ("AccessionNumber", "RequestedProcID")
    assert order.study_instance_uid == "1.2.392.200036.9125.0.198811291108.7"
    assert (order.scheduled_step_id, order.modality) == ("ScheduledProcStepID", "CT")
    assert (order.patient_id, order.patient_name, order.patient_class) == ("PID_1", "Smith^Lucy^Mark", "E")
    assert (order.scheduled_date, order.scheduled_time) == ("20000816", "151000")
    assert order.indication.startswith("Rheumatoid, other arthritis with motor score from 12 \u201335")
    assert order.priority is None
    assert order.status is OrderStatus.SCHEDULED
