"""Every kind of result from a whole agent to Orthanc, also of a study that nobody could score; and taken back again."""

import json
from io import BytesIO

import pytest
from pydicom import dcmread
from support.agent import eventually
from support.orthanc import orthanc_server
from support.xrays import radiograph, send, truncated

pytestmark = pytest.mark.external

KINDS = ["sr", "sr-comprehensive", "sr-enhanced", "sr-text", "sc", "pdf", "gsps", "kos"]
TELL_OF_ALL = ["sr", "sr-comprehensive", "sr-enhanced", "sr-text", "sc", "pdf"]
ROUTE = f'[[routes]]\nto = "pacs"\nsend = {json.dumps(KINDS)}\nunscored = true\n'


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def routed(shared_agent, orthanc, alarming_bundle):
    return shared_agent(bundle=alarming_bundle, pacs_port=orthanc.port, sends=(), tables=ROUTE)


def kept(orthanc, study):
    """What Orthanc has of a study, by modality."""
    query = {"Level": "Instance", "Query": {"StudyInstanceUID": str(study)}}
    return [
        dcmread(BytesIO(orthanc.ask(f"instances/{one}/file"))) for one in json.loads(orthanc.ask("tools/find", query))
    ]


def sent(agent, study):
    return sorted(one["kind"] for one in agent.study(study)["deliveries"] if one["state"] == "sent")


def test_every_kind_leaves_by_its_route_and_is_taken_back_by_one_note(routed, orthanc):
    image = radiograph()
    send(routed.port, image)
    study = image.StudyInstanceUID
    (item,) = routed.settled(study)
    assert (item["status"], item["finding"]) == ("delivered", "abnormal")
    assert sent(routed, study) == sorted(KINDS)
    objects = kept(orthanc, study)
    assert len(objects) == len(KINDS)

    done = routed.cli("withdraw", study, "--reason", "wrong-order", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"notes": 1, "destinations": ["pacs"]})
    eventually(lambda: "rejection" in sent(routed, study))
    (note,) = [
        one for one in kept(orthanc, study) if one.SOPInstanceUID not in {each.SOPInstanceUID for each in objects}
    ]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    (evidence,) = note.CurrentRequestedProcedureEvidenceSequence
    references = [one for each in evidence.ReferencedSeriesSequence for one in each.ReferencedSOPSequence]
    named = {one.ReferencedSOPInstanceUID for one in references}
    assert named == {one.SOPInstanceUID for one in objects}

    again = routed.cli("withdraw", study, "--reason", "wrong-order", "--json")
    assert (again.returncode, json.loads(again.stdout)["notes"]) == (0, 0)
    assert routed.actions(study).count("results_withdrawn") == 1


def test_a_study_that_nobody_could_score_is_told_and_stays_a_human_s(routed, orthanc):
    image = truncated(radiograph())
    send(routed.port, image)
    study = image.StudyInstanceUID
    (item,) = routed.settled(study)
    assert item["status"] == "needs_human"
    eventually(lambda: sent(routed, study) == sorted(TELL_OF_ALL))
    assert routed.item(study)["status"] == "needs_human"
    report = next(one for one in kept(orthanc, study) if one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34")
    assert (report.CompletionFlag, report.PreliminaryFlag) == ("PARTIAL", "PRELIMINARY")
    (remarks,) = [one for one in report.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "C0034375"]
    assert any("A human reads it." in one.TextValue for one in remarks.ContentSequence)
