"""Modality Worklist as provider (PS3.4 annex K): over real associations, asked by pynetdicom and by dcmtk."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from support.associations import associate, send
from support.instances import dx
from support.listener import PEERS, listen, utc_now
from support.ordering import find, message, order, query, worklist_service
from support.programs import require_program

from triage_agent.dimse.modality_worklist import ModalityWorklist
from triage_agent.domain.orders import OrderStatus
from triage_agent.domain.vocabulary import Priority

QUERIES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "worklist" / "wlistqry"


@pytest.fixture
def listening(tmp_path):
    made = listen(tmp_path / "spool", timeout_seconds=10, serves=worklist_service())
    yield made
    made.server.stop(2)


def store(listening, **values):
    association = associate(listening.port)
    assert send(association, dx(**values)) == 0
    association.release()


def names(answers):
    return sorted(str(answer.PatientName) for answer in answers)


def test_an_order_is_answered_with_its_priority_and_its_step(listening):
    listening.worklist.keep_orders([order(priority=Priority.STAT)], message())
    codes, (answer,) = find(listening.port, query(PatientName="DOE*", RequestedProcedurePriority=""))
    assert codes == [0xFF00, 0x0000]
    assert (answer.PatientName, answer.RequestedProcedurePriority) == ("Doe^Jane", "STAT")
    (step,) = answer.ScheduledProcedureStepSequence
    assert (step.Modality, step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepID) == (
        "DX",
        "20260301",
        "S1",
    )
    assert list(step.ScheduledStationAETitle) == ["DX1", "DX2"]
    assert "PatientID" not in answer  # nobody asked for it


def test_a_study_without_an_order_is_answered_from_its_headers_with_the_priority_that_it_was_raised_to(listening):
    store(listening, StudyInstanceUID="1.2.3", AccessionNumber="A7", RequestedProcedurePriority="HIGH")
    _, (answer,) = find(
        listening.port,
        query(PatientName="*", StudyInstanceUID="", AccessionNumber="", RequestedProcedurePriority="", PatientID=""),
    )
    assert (answer.StudyInstanceUID, answer.AccessionNumber, answer.PatientID) == ("1.2.3", "A7", "P1")
    assert answer.RequestedProcedurePriority == "HIGH"
    assert answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus == "ARRIVED"


def test_an_order_and_its_study_are_one_answer(listening):
    store(listening, StudyInstanceUID="1.2.3", AccessionNumber="A1", RequestedProcedurePriority="STAT")
    listening.worklist.keep_orders([order(priority=Priority.ROUTINE)], message())
    _, (answer,) = find(
        listening.port, query(RequestedProcedurePriority="", StudyInstanceUID="", RequestedProcedureID="")
    )
    assert (answer.RequestedProcedurePriority, answer.StudyInstanceUID, answer.RequestedProcedureID) == (
        "STAT",
        "1.2.3",
        "RP1",
    )


def test_the_most_urgent_comes_first(listening):
    for number, priority in enumerate((Priority.ROUTINE, Priority.STAT, Priority.URGENT)):
        numbers = {"filler_order_number": f"F{number}", "placer_order_number": "", "accession_number": f"A{number}"}
        listening.worklist.keep_orders([order(priority=priority, **numbers)], message())
    _, answers = find(listening.port, query(RequestedProcedurePriority=""))
    assert [answer.RequestedProcedurePriority for answer in answers] == ["STAT", "HIGH", "ROUTINE"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (query(PatientName="doe^j?ne"), ["Doe^Jane"]),
        (query(PatientName="Roe*"), ["Roe^Rick"]),
        (query(PatientName="Doe"), []),
        (query(PatientName="", AccessionNumber="A2"), ["Roe^Rick"]),
        (query(PatientName="", AccessionNumber="a2"), []),
        (query(PatientName="", StudyInstanceUID=["1.2.30", "1.2.3"]), ["Roe^Rick"]),
        (query({"ScheduledProcedureStepStartDate": "20260302-"}, PatientName=""), ["Roe^Rick"]),
        (query({"ScheduledProcedureStepStartDate": "20260301-20260301"}, PatientName=""), ["Doe^Jane"]),
        (query({"ScheduledProcedureStepStartTime": "-1200"}, PatientName=""), ["Doe^Jane"]),
        (query({"ScheduledStationAETitle": "DX2"}, PatientName=""), ["Doe^Jane"]),
        (query({"Modality": "DX", "ScheduledStationAETitle": "CR*"}, PatientName=""), ["Roe^Rick"]),
        (query({"Modality": "MR"}, PatientName=""), []),
        (query(PatientName="", RequestedProcedurePriority="STAT"), ["Roe^Rick"]),
    ],
)
def test_each_kind_of_matching_finds_what_it_asks_for(listening, asked, expected):
    second = order(
        placer_order_number="PL2",
        filler_order_number="F2",
        accession_number="A2",
        study_instance_uid="1.2.3",
        patient_id="P2",
        patient_name="Roe^Rick",
        scheduled_date="20260302",
        scheduled_time="154500",
        scheduled_station_ae_title="CR1",
        priority=Priority.STAT,
    )
    listening.worklist.keep_orders([order(), second], message())
    codes, answers = find(listening.port, asked)
    assert (names(answers), codes[-1]) == (expected, 0x0000)


def test_an_order_that_was_cancelled_is_not_waited_for(listening):
    listening.worklist.keep_orders([order(status=OrderStatus.CANCELLED)], message())
    assert find(listening.port, query(PatientName="")) == ([0x0000], [])


@pytest.mark.parametrize(
    ("asked_in", "name", "answered_in"),
    [
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
        ("ISO_IR 100", "Łukasz^Ω", "ISO_IR 192"),
        ("ISO_IR 192", "Müller^Jörg", "ISO_IR 192"),
        (None, "Müller^Jörg", "ISO_IR 192"),
        ("ISO_IR 144", "ДЖЖФ", "ISO_IR 144"),
        (None, "Doe^Jane", None),
    ],
)
def test_the_answer_is_in_the_questions_character_set_where_that_can_write_it(listening, asked_in, name, answered_in):
    listening.worklist.keep_orders([order(patient_name=name)], message())
    asked = query(PatientName="*")
    if asked_in:
        asked.SpecificCharacterSet = asked_in
    _, (answer,) = find(listening.port, asked)
    assert (answer.PatientName, answer.get("SpecificCharacterSet")) == (name, answered_in)


@pytest.mark.filterwarnings("ignore:Unknown encoding")  # of what writes the query here
def test_a_character_set_that_nobody_knows_is_read_as_latin(listening):
    listening.worklist.keep_orders([order(patient_name="Müller^Jörg")], message())
    asked = query(PatientName="*", AccessionNumber="A1")
    asked.SpecificCharacterSet = "ISO_IR 4711"
    codes, answers = find(listening.port, asked)
    assert (codes[-1], names(answers)) == (0x0000, ["Müller^Jörg"])


def test_a_name_in_another_character_set_is_found(listening):
    listening.worklist.keep_orders([order(patient_name="Müller^Jörg")], message())
    asked = query(PatientName="MÜLLER*")
    asked.SpecificCharacterSet = "ISO_IR 100"
    assert names(find(listening.port, asked)[1]) == ["Müller^Jörg"]


def test_keys_that_are_not_supported_are_left_out_and_said_to_be(listening):
    listening.worklist.keep_orders([order()], message())
    codes, (answer,) = find(listening.port, query(PatientName="", EthnicGroup="x"))
    assert codes == [0xFF01, 0x0000]
    assert "EthnicGroup" not in answer


@pytest.mark.parametrize(
    "asked",
    [
        query({"ScheduledProcedureStepStartTime": "12-13-14"}, PatientName=""),
        query(PatientName="x" * 5000),
    ],
)
def test_a_key_that_makes_no_sense_is_told_so(listening, asked):
    assert find(listening.port, asked)[0] == [0xA900]


def test_there_are_at_most_so_many_answers_and_a_peer_is_told_that_there_are_more(tmp_path):
    listening = listen(tmp_path / "spool", timeout_seconds=10, serves=worklist_service(most=3))
    try:
        for number in range(4):
            numbers = {"filler_order_number": f"F{number}", "placer_order_number": "", "accession_number": ""}
            listening.worklist.keep_orders([order(**numbers)], message())
        codes, answers = find(listening.port, query(PatientName=""))
    finally:
        listening.server.stop(2)
    assert (codes[-1], len(answers)) == (0xA700, 3)


def test_a_query_that_is_cancelled_ends(listening):
    for number in range(400):
        numbers = {"filler_order_number": f"F{number}", "placer_order_number": "", "accession_number": ""}
        listening.worklist.keep_orders([order(**numbers)], message())
    codes, answers = find(listening.port, query(PatientName=""), cancel_after=1)
    assert codes[-1] == 0xFE00
    assert len(answers) < 400


def test_only_a_peer_that_may_query_is_answered(listening):
    store(listening)
    assert find(listening.port, query(PatientName=""), calling="PACS")[0][-1] == 0x0000
    refused = listen(
        listening.spool.root.parent / "other",
        peers=[replace(PEERS[0], may=frozenset({"store"}))],
        serves=worklist_service(),
    )
    try:
        association = associate(refused.port, "1.2.840.10008.5.1.4.31")
        assert not association.accepted_contexts
    finally:
        refused.server.stop(2)


def findscu(port, folder, *options):
    """The data sets that dcmtk's client writes."""
    done = subprocess.run(
        [
            require_program("findscu"),
            "-W",
            "-X",
            "-od",
            folder,
            "-aet",
            "RIS",
            "-aec",
            "TRIAGE",
            "127.0.0.1",
            str(port),
            *options,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [dcmread(path, force=True) for path in sorted(Path(folder).glob("rsp*.dcm"))]


@pytest.mark.external
def test_dcmtk_asks_and_reads(listening, tmp_path):
    listening.worklist.keep_orders([order(patient_name="Müller^Jörg", priority=Priority.URGENT)], message())
    keys = [
        "-k",
        "PatientName=M*",
        "-k",
        "RequestedProcedurePriority",
        "-k",
        "ScheduledProcedureStepSequence[0].Modality=DX",
    ]
    (tmp_path / "out").mkdir()
    (answer,) = findscu(listening.port, tmp_path / "out", *keys)
    assert (answer.PatientName, answer.RequestedProcedurePriority) == ("Müller^Jörg", "HIGH")


@pytest.mark.external
@pytest.mark.shared
@pytest.mark.parametrize("number", range(13))
def test_dcmtks_own_queries_are_answered(listening, tmp_path, number):
    """Each with what a worklist of two orders has for it."""
    if not QUERIES.is_dir():
        pytest.skip("../shared is absent")
    other = order(
        placer_order_number="PL2",
        filler_order_number="F2",
        accession_number="A2",
        scheduled_time="140000",
        scheduled_station_ae_title="AA2",
        scheduled_station_name="A2",
        modality="DD",
        patient_name="Roe^Rick",
    )
    listening.worklist.keep_orders([order(), other], message())
    asked = tmp_path / "query.dcm"
    dump = QUERIES / f"wlistqry{number}.dump"
    subprocess.run([require_program("dump2dcm"), dump, asked], check=True, capture_output=True)
    (tmp_path / "out").mkdir()
    answers = findscu(listening.port, tmp_path / "out", str(asked))
    expected = {12: [], **{key: ["Roe^Rick"] for key in (2, 4, 5, 6, 7, 8, 9)}}
    assert names(answers) == expected.get(number, ["Doe^Jane", "Roe^Rick"])


@pytest.mark.parametrize(("keys", "code"), [({"PatientName": "DOE*"}, 0x0000), ({"PatientBirthDate": "never"}, 0xA900)])
def test_each_query_is_counted_by_its_final_status(tmp_path, keys, code):
    told = []
    made = listen(
        tmp_path / "spool",
        serves=lambda worklist: ModalityWorklist(worklist.scheduled, utc_now, answered=told.append),
    )
    made.worklist.keep_orders([order()], message())
    try:
        codes, _answers = find(made.port, query(**keys))
    finally:
        made.server.stop(2)
    assert codes[-1] == code
    assert told == [code]
