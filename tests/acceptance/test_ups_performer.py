"""A PACS posts "process this study" (IHE AI Workflow for Imaging): fetched, scored, completed with the report."""

from pydicom import Dataset
from pydicom.tag import Tag
from support.agent import eventually
from support.archives import ScriptedArchive, running
from support.ups import PULL, PUSH, WATCH, calling, coded
from support.xrays import radiograph

TASK = "2.25.4242"


def _tables(archive_port):
    return f"""
[study]
quiet_seconds = 1
fetch_pause_seconds = 0.2
fetch_tries = 2
[[dicom.peers]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}
may = ["store"]
retrieve = "get"
[[dicom.peers]]
name = "manager"
ae_title = "MANAGER"
networks = ["127.0.0.1"]
may = ["query", "ups"]
"""


def _task(study):
    where = Dataset()
    where.RetrieveAETitle = "ARCHIVE"
    asked = Dataset()
    asked.TypeOfInstances, asked.StudyInstanceUID, asked.SeriesInstanceUID = "DICOM", study, "2.25.1"
    asked.ReferencedSOPSequence, asked.DICOMRetrievalSequence = [], [where]
    given = Dataset()
    given.ScheduledProcedureStepPriority, given.ProcedureStepState = "MEDIUM", "SCHEDULED"
    given.ProcedureStepLabel, given.WorklistLabel = "Triage", "AI"
    given.ScheduledProcedureStepStartDateTime, given.InputReadinessState = "20260101120000", "READY"
    given.ScheduledWorkitemCodeSequence = [coded("110004", "DCM", "Computer Aided Detection")]
    given.InputInformationSequence = [asked]
    return given


def _post(running_agent, given, uid=TASK):
    with calling(running_agent.port, "MANAGER", (PUSH,)) as association:
        return association.send_n_create(given, PUSH, uid)[0].Status


def _look(running_agent, uid=TASK):
    """The task as it is now."""
    tags = [
        Tag("ProcedureStepState"),
        Tag("UnifiedProcedureStepPerformedProcedureSequence"),
        Tag("ProcedureStepProgressInformationSequence"),
    ]
    with calling(running_agent.port, "MANAGER", (PULL, WATCH)) as association:
        return association.send_n_get(tags, PUSH, uid, meta_uid=PULL)[1]


def test_a_posted_study_is_fetched_scored_and_its_work_completed_with_the_report(agent, pacs, tiny_bundle):
    image = radiograph(seed=1)
    with running(ScriptedArchive([image])) as port:
        hospital = agent(bundle=tiny_bundle, pacs_port=pacs.port, tables=_tables(port))
        assert _post(hospital, _task(image.StudyInstanceUID)) == 0
        done = eventually(lambda: (now := _look(hospital)).ProcedureStepState == "COMPLETED" and now, every=1.0)
    (performed,) = done.UnifiedProcedureStepPerformedProcedureSequence
    (output,) = performed.OutputInformationSequence
    reports = [one for one in pacs.objects if one.Modality == "SR"]
    assert [one.ReferencedSOPInstanceUID for one in output.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in reports
    ]
    assert (output.StudyInstanceUID, output.DICOMRetrievalSequence[0].RetrieveAETitle) == (
        image.StudyInstanceUID,
        "PACS",
    )


def test_a_study_that_the_archive_does_not_have_cancels_its_work(agent, pacs, tiny_bundle):
    with running(ScriptedArchive([radiograph(seed=2)])) as port:
        hospital = agent(bundle=tiny_bundle, pacs_port=pacs.port, tables=_tables(port))
        assert _post(hospital, _task("2.25.43")) == 0
        done = eventually(lambda: (now := _look(hospital)).ProcedureStepState == "CANCELED" and now, every=1.0)
    assert "has no such study" in done.ProcedureStepProgressInformationSequence[0].ReasonForCancellation
