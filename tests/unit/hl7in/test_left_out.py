"""What is not kept of a message that is taken is logged and counted, and names nobody."""

import unicodedata
from collections import Counter

import pytest
from structlog.testing import capture_logs
from support.hl7 import build, merge, omi, said
from support.story import RULE, STUDY, T0, received

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.orders import PatientUpdate
from triage_agent.hl7in.desk import NAME_CUT, NOT_NAMED, Hl7Desk
from triage_agent.hl7in.names import fitting_name, with_fitting_names
from triage_agent.worklist import MemoryWorklist


class Heard(Counter):
    def __call__(self, what, times):
        self[what] += times


@pytest.fixture
def worklist():
    return MemoryWorklist()


def answered(worklist, message):
    """The answer's code, what was counted as left out, and what was logged of it."""
    heard = Heard()
    with capture_logs() as logs:
        code = said(Hl7Desk(worklist, lambda: T0, left_out=heard).answer(message))[0]
    return code, dict(heard), [entry for entry in logs if entry["event"] == "hl7_left_out"]


@pytest.mark.parametrize(
    ("message", "times"),
    [
        (merge(mrg="MRG|"), 1),
        (merge(mrg=""), 1),
        (merge(pid="PID|||"), 1),
        (build("MRG|P1", "PID|||P7", kind="ADT^A40"), 1),
        (build("PID|||P7", "MRG|", "PID|||P8", "MRG|P1", "PID|||", "MRG|P2", kind="ADT^A40"), 2),
        (build("PID|||||Doe^Jane", kind="ADT^A08"), 1),
        (build(kind="ADT^A31"), 1),
    ],
)
def test_a_message_that_names_no_number_is_taken_counted_and_logged(worklist, message, times):
    code, heard, (entry,) = answered(worklist, message)
    assert (code, heard, entry["times"]) == ("AA", {NOT_NAMED: times}, times)
    assert not any(name in str(entry) for name in ("Doe", "Jane", "Roe", "P1", "P7"))


@pytest.mark.parametrize(
    "message", [merge(), merge(mrg="MRG|P7"), omi(), build("PID|||P1", kind="ADT^A08"), build("PID|||", kind="ADT^A11")]
)
def test_nothing_is_told_of_where_nothing_is_missing(worklist, message):
    assert answered(worklist, message) == ("AA", {}, [])


def test_a_name_is_cut_to_what_dicom_can_say_and_told_of(worklist):
    worklist.register(received(patient_id="P1"), RULE)
    long = build(f"PID|||P1||{'Ab' * 40}^Jane", kind="ADT^A08")
    code, heard, (entry,) = answered(worklist, long)
    assert (code, heard, "Abab" in str(entry).title()) == ("AA", {NAME_CUT: 1}, False)
    assert worklist.study(STUDY).item.patient_name == "Ab" * 32


def test_of_a_message_with_many_orders_one_line_is_logged(worklist):
    orders = [line for number in range(5) for line in (f"ORC|NW|PL{number}|F{number}", f"OBR|1|PL{number}|F{number}")]
    code, heard, (entry,) = answered(worklist, build(f"PID|||P1||{'x' * 70}", *orders, kind="OMI^O23"))
    assert (code, heard, entry["times"]) == ("AA", {NAME_CUT: 5}, 5)
    assert {order.patient_name for order in worklist.orders()} == {"x" * 64}


def test_what_was_not_taken_is_not_counted():
    class Away:
        def update_patient(self, *_):
            raise WorklistUnavailableError("no")

    assert answered(Away(), build(f"PID|||P1||{'x' * 70}", kind="ADT^A08")) == ("AE", {}, [])


@pytest.mark.parametrize(
    ("name", "fitting"),
    [
        ("Doe^Jane", "Doe^Jane"),
        ("x" * 64, "x" * 64),
        ("x" * 70, "x" * 64),
        ("x" * 63 + "^Jane", "x" * 63),
        (f"{'a' * 70}={'山' * 70}={'や' * 70}", f"{'a' * 64}={'山' * 64}={'や' * 64}"),
        ("=山", "=山"),
        ("e\u0301" * 64, "\u00e9" * 64),
        ("x\u0323\u0302" * 30, "x\u0323\u0302" * 21),  # no letter of its own in form C: three characters each
        ("\u0915\u094d\u200d\u0937" * 17, "\u0915\u094d\u200d\u0937" * 16),
    ],
)
def test_a_group_has_64_characters_and_no_half_letter(name, fitting):
    assert fitting_name(name) == fitting


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "iso2022_jp_2004"])
def test_a_cut_name_is_whole_in_every_encoding(encoding):
    cut = fitting_name(unicodedata.normalize("NFD", "がぎぐげご" * 20))
    assert cut.encode(encoding).decode(encoding) == cut == ("がぎぐげご" * 13)[:64]


def test_what_was_only_composed_was_not_cut():
    update = PatientUpdate(patient_id="P1", patient_name="Mu\u0308ller^Jane")
    assert with_fitting_names(update) == (PatientUpdate(patient_id="P1", patient_name="M\u00fcller^Jane"), 0)


def test_marks_without_end_strike_no_name_out():
    assert fitting_name("x" + "\u0323" * 100) == "x" + "\u0323" * 63
