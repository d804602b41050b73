"""Our orders beside those that dcm4che is tested with: what both have stands in the same places."""

import hl7
import pytest
from pydicom import Dataset
from support.data import shared_data

from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.registry import REGISTRY

pytestmark = pytest.mark.shared

STUDY = "1.2.392.200036.9125.0.198811291108.7"
PLACER, FILLER = "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest"


def theirs(name):
    """Their message; its scheduled step's ID is longer than DICOM's 16 characters."""
    text = shared_data("hl7", "dcm4che", name).read_bytes().decode("iso8859_1").replace("ScheduledProcStepID", "SPS")
    return hl7.parse(text.replace("\r\n", "\r").replace("\n", "\r"))


def ours(kind, context, header, decision_of):
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RequestedProcID", "SPS"
    asked = header(
        StudyInstanceUID=STUDY,
        AccessionNumber="AccessionNumber",
        Modality="CT",
        RequestAttributesSequence=[request],
        PlacerOrderNumberImagingServiceRequest=PLACER,
        FillerOrderNumberImagingServiceRequest=FILLER,
        PatientID="PID_1",
        IssuerOfPatientID="ADT1",
        PatientName="Smith^Lucy^Mark",
        PatientBirthDate="20141014",
        PatientSex="F",
    )
    return hl7.parse(REGISTRY[kind].build(context(headers=[asked], **decision_of)).body.decode())


def places(message, values):
    """Where each of the values stands: segment, field and component."""
    found = {value: set() for value in values}
    for segment in message:
        for number, field in enumerate(segment):
            for component, text in enumerate(str(field).split("^"), start=1):
                if text in found:
                    found[text].add((str(segment[0]), number, component))
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ArtifactKind.HL7_OMI, "OMI^O23-ImagingOrder.hl7"), (ArtifactKind.HL7_ORM, "ORM^O01-GeneralOrder.hl7")],
)
def test_an_order_s_identifiers_stand_where_dcm4che_reads_them(kind, name, context, header):
    values = [PLACER, FILLER, "AccessionNumber", "RequestedProcID", "SPS", STUDY, "CT", "PID_1", "ADT1"]
    values += ["Smith", "Lucy", "Mark", "20141014"]
    expected = places(theirs(name), values)
    found = places(ours(kind, context, header, {"study_instance_uid": STUDY}), values)
    assert all(expected.values())
    assert not [value for value in values if not expected[value] <= found[value]]


def test_a_result_names_its_order_where_dcm4che_does(context, header):
    values = [PLACER, FILLER, "AccessionNumber", "RequestedProcID", "PID_1", "20141014"]
    expected = places(theirs("ORU^R01-SR.hl7"), values)
    found = places(ours(ArtifactKind.HL7_ORU, context, header, {"study_instance_uid": STUDY}), values)
    assert all(expected.values())
    assert not [value for value in values if not expected[value] <= found[value]]
