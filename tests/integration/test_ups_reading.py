"""Workitems read over real associations: C-FIND and N-GET (PS3.4 sections CC.2.7 and CC.2.8)."""

import gc

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian
from support.story import STUDY, Story, flag, shipment
from support.ups import PULL, PUSH, QUERY, WATCH, calling, find, keys, ups_agent

from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import workitem_uid

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

OTHER, THIRD = "1.2.2", "1.2.3"
UID = workitem_uid(STUDY)


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def running(tmp_path, sqlite_url):
    with ups_agent(sqlite_url, tmp_path / "spool") as agent:
        yield agent


@pytest.fixture
def story(running):
    """Three studies: the first was raised by a flag, the second came as stat, the third is routine."""
    told = Story(running.worklist)
    told.receive(STUDY, accession_number="A1", patient_id="P1", patient_name="Doe^Jane", modality="DX")
    told.receive(OTHER, requested_priority=Priority.STAT, patient_id="P2", patient_name="Müller^Jürgen")
    told.receive(THIRD, patient_id="P3")
    told.worklist.raise_flag(flag(at=told.tick()), (), told.now)
    return told


def asked(running, identifier=None, calling_as="PACS", model=PULL):
    with calling(running.port, calling_as, (model,)) as association:
        return find(association, identifier or keys(), model)


def got(running, uid, *keywords, calling_as="PACS"):
    with calling(running.port, calling_as, (WATCH,)) as association:
        tags = [Tag(keyword) for keyword in keywords]
        status, found = association.send_n_get(tags, PUSH, uid, meta_uid=WATCH)
        return status.Status, found


@pytest.mark.parametrize("model", [PULL, WATCH, QUERY])
def test_each_study_is_a_workitem_with_the_worklists_priority_best_first(running, story, model):
    found, status = asked(running, model=model)
    assert status == 0
    assert [(one.SOPInstanceUID, one.ScheduledProcedureStepPriority, one.PatientID) for one in found] == [
        (workitem_uid(OTHER), "HIGH", "P2"),
        (UID, "MEDIUM", "P1"),
        (workitem_uid(THIRD), "LOW", "P3"),
    ]
    assert {one.ProcedureStepState for one in found} == {"SCHEDULED"}


@pytest.mark.parametrize(
    ("wanted", "studies"),
    [
        ({"ScheduledProcedureStepPriority": "MEDIUM"}, [STUDY]),
        ({"ScheduledProcedureStepPriority": "LOW"}, [THIRD]),
        ({"ProcedureStepState": "COMPLETED"}, []),
        ({"SOPInstanceUID": [UID, workitem_uid(THIRD), "1.2.3.4"]}, [STUDY, THIRD]),
        ({"StudyInstanceUID": OTHER}, [OTHER]),
        ({"PatientName": "DOE*"}, [STUDY]),
        ({"PatientName": "M?ller^J*", "SpecificCharacterSet": "ISO_IR 192"}, [OTHER]),
        ({"PatientID": "P?"}, [OTHER, STUDY, THIRD]),
        ({"PatientID": "P[1-3]"}, []),
        ({"ProcedureStepLabel": "*"}, [OTHER, STUDY, THIRD]),
        ({"ScheduledProcedureStepStartDateTime": "20260301-20260302"}, [OTHER, STUDY, THIRD]),
        ({"ScheduledProcedureStepStartDateTime": "-20260228"}, []),
        ({"InputReadinessState": "INCOMPLETE"}, [OTHER, STUDY, THIRD]),
    ],
)
def test_keys_choose(running, story, wanted, studies):
    found, status = asked(running, keys(**wanted))
    assert ([one.SOPInstanceUID for one in found], status) == ([workitem_uid(study) for study in studies], 0)


def coded_key(value):
    item = Dataset()
    item.CodeValue = value
    return keys(ScheduledWorkitemCodeSequence=[item])


def test_a_sequence_is_matched_by_its_item(running, story):
    found, _ = asked(running, coded_key("110005"))
    assert [item.CodeValue for one in found for item in one.ScheduledWorkitemCodeSequence] == ["110005"] * 3
    assert asked(running, coded_key("110004")) == ([], 0)


def test_an_accession_number_is_found_in_the_referenced_request(running, story):
    item = Dataset()
    item.AccessionNumber = "A1"
    found, _ = asked(running, keys(ReferencedRequestSequence=[item]))
    assert [one.ReferencedRequestSequence[0].AccessionNumber for one in found] == ["A1"]


def test_only_what_was_asked_for_is_answered(running, story):
    found, _ = asked(running, keys(SOPInstanceUID=UID, ScheduledHumanPerformersSequence=[]))
    assert {element.keyword for element in found[0]} == {
        "SpecificCharacterSet",
        "SOPInstanceUID",
        "PatientID",
        "ProcedureStepState",
        "ScheduledProcedureStepPriority",
        "ScheduledHumanPerformersSequence",
    }


def test_a_workitem_says_what_is_to_be_read_and_why(running, story):
    status, found = got(running, UID)
    assert status == 0
    assert (found.PatientName, found.ProcedureStepLabel, found.WorklistLabel) == (
        "Doe^Jane",
        "Read DX XR_KNEE",
        "TRIAGE",
    )
    assert found.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"
    assert found.CommentsOnTheScheduledProcedureStep.startswith("Preliminary, made by a machine: possibly abnormal, ")
    (series,) = found.InputInformationSequence
    assert (series.StudyInstanceUID, series.SeriesInstanceUID) == (STUDY, f"{STUDY}.9")
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [f"{STUDY}.1"]
    assert "TransactionUID" not in found


def test_our_report_is_the_output_once_it_was_sent(running, story, tmp_path):
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", "2.25.5"
    report.SeriesInstanceUID, report.StudyInstanceUID = "2.25.6", STUDY
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    story.complete()
    story.claim()
    story.decide(shipment("2.25.5", body=(tmp_path / "sr.dcm").read_bytes()))
    assert list(got(running, UID)[1].UnifiedProcedureStepPerformedProcedureSequence) == []
    assert story.send() == ["2.25.5"]
    (performed,) = got(running, UID)[1].UnifiedProcedureStepPerformedProcedureSequence
    (output,) = performed.OutputInformationSequence
    assert output.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.5"
    assert (output.SeriesInstanceUID, output.DICOMRetrievalSequence[0].RetrieveAETitle) == ("2.25.6", "PACS")


def test_attributes_are_read_one_by_one_and_one_that_is_not_there_is_said_so(running, story):
    status, found = got(running, UID, "ScheduledProcedureStepPriority", "ProcedureStepState")
    assert (status, {element.keyword for element in found}) == (
        0,
        {"ScheduledProcedureStepPriority", "ProcedureStepState"},
    )
    status, found = got(running, UID, "ProcedureStepState", "TransactionUID")
    assert (status, [element.keyword for element in found]) == (0x0001, ["ProcedureStepState"])


@pytest.mark.parametrize("uid", ["1.2.3.4", workitem_uid("1.2.99")])
def test_a_workitem_that_is_not_here_is_named_as_such(running, story, uid):
    assert got(running, uid)[0] == 0xC307


def test_who_may_not_query_gets_no_context(running, story):
    with calling(running.port, "NURSE") as association:
        assert not association.is_established


def test_who_may_only_query_is_not_offered_push(running):
    with calling(running.port, "PACS") as association:
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
    assert accepted == {PULL, WATCH, QUERY}


def test_a_thousand_workitems_are_all_found(running):
    story = Story(running.worklist)
    for number in range(1000):
        story.receive(f"1.2.7.{number}")
    assert len(asked(running)[0]) == 1000


def test_a_query_that_is_cancelled_ends(running):
    story = Story(running.worklist)
    for number in range(300):
        story.receive(f"1.2.7.{number}")
    with calling(running.port, "PACS", (PULL,)) as association:
        answers = association.send_c_find(keys(), PULL, msg_id=7)
        next(answers)
        association.send_c_cancel(7, query_model=PULL)
        last = [status.Status for status, _ in answers][-1]
    assert last in {0xFE00, 0x0000}  # where all answers were on their way before the cancel came
