import json

import pytest
from pydicom import Dataset
from support.story import STUDY, Story, decision, scored, shipment

from triage_agent.cli import withdrawing
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import ResultContext
from triage_agent.results.registry import REGISTRY
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist


@pytest.fixture
def told(monkeypatch):
    """A worklist that the command finds, with a study whose report the PACS has."""
    story = Story(MemoryWorklist())
    monkeypatch.setattr(withdrawing, "load_settings", lambda _config: Settings())
    monkeypatch.setattr(withdrawing, "open_worklist", lambda _settings: story.worklist)
    return story


@pytest.fixture
def report():
    """A report of the study, as a shipment."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"{STUDY}.1"
    header.SeriesInstanceUID, header.StudyInstanceUID, header.PatientID = f"{STUDY}.9", STUDY, "P1"
    context = ResultContext(result=decision(), headers=(header,), assessments=(scored(f"{STUDY}.1"),))
    artifact = REGISTRY[ArtifactKind.SR].build(context)
    return shipment(artifact.uid, body=artifact.body)


def test_it_queues_a_note_where_the_objects_went(told, report, run):
    told.decided(report)
    told.send()
    done = run("withdraw", STUDY, "--reason", "quality", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"notes": 1, "destinations": ["pacs"]})
    assert [row.kind for row in told.worklist.study(STUDY).deliveries] == [ArtifactKind.SR, ArtifactKind.REJECTION]
    assert "no route leads to pacs" in done.err


def test_a_second_time_there_is_nothing_left_to_withdraw_and_it_says_so(told, report, run):
    told.decided(report)
    run("withdraw", STUDY, "--reason", "quality")
    done = run("withdraw", STUDY, "--reason", "patient-safety")
    assert (done.code, done.out.strip()) == (0, "0 rejection notes wait to be sent")
    assert "withdrawn already" in done.err


def test_a_study_of_which_no_object_was_sent_is_said_to_be_so(told, run):
    told.decided(shipment(kind=ArtifactKind.HL7_ORU, to="ris"))
    done = run("withdraw", STUDY, "--reason", "retention")
    assert done.code == 0
    assert "no DICOM object of it was sent" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["1.2.99", "--reason", "quality"], 1, "no study 1.2.99"),
        ([STUDY], 2, "--reason"),
        ([STUDY, "--reason", "whim"], 2, "whim"),
    ],
)
def test_an_unknown_study_or_reason_is_one_line(arguments, code, said, told, run):
    done = run("withdraw", *arguments)
    assert done.code == code
    assert said in done.err
