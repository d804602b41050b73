"""A message is answered with AA once it is committed, with AE where it may be sent again, with AR where never."""

from dataclasses import replace

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.hl7 import EXAMPLES, PID, PV1, build, merge, omi, said
from support.story import RULE, STUDY, T0, received

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import Priority
from triage_agent.hl7in.desk import DeskTerms, Hl7Desk
from triage_agent.worklist import MemoryWorklist


@pytest.fixture
def worklist():
    return MemoryWorklist()


@pytest.fixture
def desk(worklist):
    return Hl7Desk(worklist, lambda: T0, DeskTerms(institution="H"))


class Away:
    """A database that does not answer, or a bug."""

    def __init__(self, error):
        self._error = error

    def keep_orders(self, orders, message):
        raise self._error


def test_an_order_is_kept_and_acknowledged(desk, worklist):
    assert said(desk.answer(omi())) == ("AA", "M1", "")
    (order,) = worklist.orders()
    assert (order.accession_number, order.priority, order.control_id, order.sender) == (
        "A1",
        Priority.STAT,
        "M1",
        "RIS^HOSPITAL",
    )


def test_the_acknowledgement_goes_back_to_who_sent_the_message(desk):
    answer = hl7.parse(desk.answer(omi()).decode())
    head = answer.segment("MSH")
    assert [str(head[number]) for number in (3, 4, 5, 6, 9, 11, 12, 18)] == [
        "TRIAGE-AGENT",
        "H",
        "RIS",
        "HOSPITAL",
        "ACK^O23^ACK",
        "P",
        "2.5.1",
        "UNICODE UTF-8",
    ]
    assert str(head[10]) not in {"", "M1"}


def test_a_database_that_is_away_is_told_of_as_to_be_tried_again():
    desk = Hl7Desk(Away(WorklistUnavailableError("no")), lambda: T0)
    assert said(desk.answer(omi())) == ("AE", "M1", "207")


def test_what_fails_for_any_other_reason_does_not_hold_up_what_comes_behind():
    with capture_logs() as logs:
        assert said(Hl7Desk(Away(KeyError("Doe")), lambda: T0).answer(omi())) == ("AR", "M1", "207")
    assert "Doe" not in str(logs)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (build(PID, kind="ORU^R01"), "200"),
        (build(PID, kind="ORM^O02"), "201"),
        (omi(control_id=""), "101"),
        (omi(control_id="9" * 300), "102"),
        (omi(version="3.0"), "203"),
        (omi().replace(b"|P|2.5.1", b"|T|2.5.1"), "202"),
        (build(PID, "ORC|NW", kind="ORM^O01"), "101"),
        (build(PID, kind="OMI^O23"), "100"),
        (b"nonsense", "100"),
    ],
)
def test_what_can_never_be_taken_is_refused(desk, worklist, message, error):
    code, _, said_error = said(desk.answer(message))
    assert (code, said_error, worklist.orders()) == ("AR", error, [])


def test_an_older_sender_is_told_what_is_wrong_where_it_looks_for_it(desk):
    answer = desk.answer(build(PID, kind="ORU^R01", version="2.3")).decode()
    assert "ERR|^^^200&Unsupported message type&HL70357\r" in answer


@pytest.mark.parametrize(
    ("accept", "application", "code"),
    [
        ("", "", "AA"),
        ("AL", "NE", "CA"),
        ("NE", "AL", "AA"),
        ("AL", "AL", "AA"),
        ("AL", "", "CA"),
        ("NE", "NE", None),
        ("ER", "ER", None),
        ("SU", "NE", "CA"),
    ],
)
def test_the_sender_says_which_acknowledgement_it_wants(desk, accept, application, code):
    head = omi().replace(b"|2.5.1||||||UNICODE", f"|2.5.1|||{accept}|{application}||UNICODE".encode())
    answer = desk.answer(head)
    assert (answer and said(answer)[0]) == code


def test_another_set_of_delimiters_is_answered_in_it(desk):
    message = omi(control_id="M#1").replace(b"#", b"!").replace(b"|", b"#").replace(b"!", b"|")
    answer = desk.answer(message).decode()
    assert answer.startswith("MSH#^~\\&#TRIAGE-AGENT#")
    assert answer.endswith("\rMSA#AA#M|1\r")


@pytest.mark.parametrize("version", ["2.\u00b2", "2.5" + "9" * 5000, "2", "2.x"])
def test_a_version_that_is_none_is_answered_in_ours(desk, version):
    answer = desk.answer(build(PID, kind="ORU^R01", version=version))
    assert (said(answer)[0], b"|P|2.5.1|" in answer) == ("AR", True)


def test_an_acknowledgement_is_not_answered(desk):
    assert desk.answer(build("MSA|AA|1", kind="ACK")) is None


def test_an_update_renames_and_says_where_the_patient_is(desk, worklist):
    worklist.register(received(patient_id="P1", patient_name="Doe^Jane"), RULE)
    desk.answer(omi())
    update = build("PID|||P1^^^ADT^MR||Doe^Janet", "PV1||I|W3^12", kind="ADT^A08", control_id="M2")
    assert said(desk.answer(update)) == ("AA", "M2", "")
    assert worklist.study(STUDY).item.patient_name == "Doe^Janet"
    assert [(each.patient_class, each.patient_location) for each in worklist.orders()] == [("I", "W3 12")]


def test_events_that_concern_nobody_here_are_taken(desk):
    for event in ("A08", "A11", "A40", "A60"):
        assert said(desk.answer(build(PID, PV1, kind=f"ADT^{event}")))[0] == "AA"


def test_a_merge_renames_the_studies(desk, worklist):
    worklist.register(received(patient_id="P1", patient_name="Doe^Jane"), RULE)
    assert said(desk.answer(merge())) == ("AA", "M2", "")
    item = worklist.study(STUDY).item
    assert (item.patient_id, item.patient_name) == ("P7", "Roe^Jane")
    assert said(desk.answer(merge("M3"))) == ("AA", "M3", "")


def test_a_merge_of_several_patients_is_done_pair_by_pair(desk, worklist):
    for number in (1, 2):
        worklist.register(received(f"1.2.{number}", f"1.2.{number}.1", patient_id=f"P{number}"), RULE)
    pairs = ("PID|||Q1", "MRG|P1", "PID|||Q2", "MRG|P2")
    desk.answer(build(*pairs, kind="ADT^A40"))
    assert [worklist.study(f"1.2.{number}").item.patient_id for number in (1, 2)] == ["Q1", "Q2"]


def test_only_numbers_of_the_sites_authority_are_merged(worklist):
    terms = DeskTerms()
    reading = replace(terms.reading, assigning_authority="ADT")
    desk = Hl7Desk(worklist, lambda: T0, replace(terms, reading=reading))
    worklist.register(received(patient_id="P1"), RULE)
    desk.answer(merge(mrg="MRG|P1^^^OTHER"))
    assert worklist.study(STUDY).item.patient_id == "P1"


def test_no_patient_is_named_in_the_log(desk):
    with capture_logs() as logs:
        for message in (omi(), merge(), build(PID, kind="ADT^A08"), build(PID, kind="ORU^R01"), b"Doe^Jane"):
            desk.answer(message)
    text = str(logs)
    assert logs
    assert not any(word in text for word in ("Doe", "Jane", "P1", "19700301", "A1'"))


def test_a_senders_words_are_shown_as_escapes(desk, worklist):
    desk.answer(omi(control_id="M\x1b[31m1"))
    (order,) = worklist.orders()
    assert order.control_id == "M\\x1b[31m1"


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ADT^A31-UpdatePersonInfo", "AA"),
        ("ADT^A31-UpdatePersonInfo-Veterinary", "AA"),
        ("ADT^A40-PatientMerge", "AA"),
        ("ADT^A47-ChangePatientID", "AA"),
        ("OMG^O19-GeneralClinicalOrder-Eyecare", "AA"),
        ("OMI^O23-ImagingOrder", "AA"),
        ("ORM^O01-GeneralOrder", "AA"),
        ("ORU^R01-CDA", "AR"),
        ("SIU^S12-NewAppointmentBooking", "AR"),
    ],
)
def test_dcm4ches_examples_are_answered(desk, worklist, name, code):
    path = EXAMPLES / f"{name}.hl7"
    if not path.exists():
        pytest.skip("../shared is absent")
    worklist.register(received(patient_id="OLD_PID_1"), RULE)
    assert desk.answer(path.read_bytes()).decode().split("\rMSA|")[1][:2] == code
    expected = "NEW_PID_1" if "MRG" in path.read_text() else "OLD_PID_1"
    assert worklist.study(STUDY).item.patient_id == expected


_PIECES = st.sampled_from(
    ["|", "^", "~", "\\", "&", "\r", '""', "MSH", "PID", "MRG", "OBR", "IPC", "\x00", "ä", "9" * 30]
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 600), _PIECES), max_size=8),
    st.sampled_from([omi(), merge(), build(PID, kind="ADT^A08")]),
)
def test_a_mutated_message_is_answered_by_one_of_three_words(mutations, message):
    text = message.decode()
    for at, piece in mutations:
        text = text[:at] + piece + text[at + len(piece) // 2 :]
    with capture_logs() as logs:
        answer = Hl7Desk(MemoryWorklist(), lambda: T0).answer(text.encode())
    assert "hl7_failed" not in [entry["event"] for entry in logs]
    assert answer is None or b"\rMSA" in answer


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(body):
    with capture_logs() as logs:
        for frame in (body, b"MSH|^~\\&|" + body):
            Hl7Desk(MemoryWorklist(), lambda: T0).answer(frame)
    assert "hl7_failed" not in [entry["event"] for entry in logs]
