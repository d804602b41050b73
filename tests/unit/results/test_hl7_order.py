"""Orders with a raised priority: OMI and ORM, checked by python-hl7 and by hl7apy."""

import hl7
import pytest
from pydicom import Dataset
from support import hl7checks

from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.results.hl7_versions import VERSIONS
from triage_agent.results.registry import REGISTRY

EVERY = [(version, kind) for version, facts in VERSIONS.items() for kind in sorted(facts.kinds)]


@pytest.fixture
def ordered(header):
    """A header that states everything DICOM knows of an order."""
    request, code = Dataset(), Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
    code.CodeValue, code.CodeMeaning, code.CodingSchemeDesignator = "36554-4", "XR Knee & lower leg", "LN"
    return header(
        Modality="DX",
        PlacerOrderNumberImagingServiceRequest="PL1",
        FillerOrderNumberImagingServiceRequest="FI1",
        RequestAttributesSequence=[request],
        ProcedureCodeSequence=[code],
    )


def message_of(kind, context):
    return hl7.parse(REGISTRY[kind].build(context).body.decode())


def fields(segment):
    return {number: str(field) for number, field in enumerate(segment) if number and str(field)}


def test_an_imaging_order_has_the_priority_in_tq1_and_what_pacs_and_ris_share_in_ipc(context, ordered):
    message = message_of(ArtifactKind.HL7_OMI, context(headers=[ordered], priority=Priority.STAT))
    assert [str(one[0]) for one in message if str(one[0]) != "NTE"] == ["MSH", "PID", "ORC", "TQ1", "OBR", "IPC"]
    assert str(message.segment("MSH")[9]) == "OMI^O23^OMI_O23"
    assert fields(message.segment("TQ1")) == {1: "1", 9: "S^Stat^HL70485"}
    assert fields(message.segment("IPC")) == {1: "A1", 2: "RP1", 3: "1.2.3.4", 4: "SPS1", 5: "DX"}
    assert fields(message.segment("OBR")) == {
        1: "1",
        2: "PL1",
        3: "FI1",
        4: "36554-4^XR Knee \\T\\ lower leg^LN",
        18: "A1",
        19: "RP1",
        20: "SPS1",
        24: "DX",
    }


def test_an_order_asks_for_a_change_and_says_which_rule_raised_it(context, ordered):
    orc = message_of(ArtifactKind.HL7_OMI, context(headers=[ordered])).segment("ORC")
    assert (str(orc[1]), str(orc[2]), str(orc[3])) == ("XO", "PL1", "FI1")
    assert str(orc[16]) == "abnormal^Priority raised by triage^99TRIAGE"


def test_a_general_order_has_the_priority_in_quantity_timing_and_the_study_in_zds(context, ordered):
    message = message_of(ArtifactKind.HL7_ORM, context(headers=[ordered], priority=Priority.URGENT))
    assert [str(one[0]) for one in message if str(one[0]) != "NTE"] == ["MSH", "PID", "ORC", "OBR", "ZDS"]
    assert (str(message.segment("ORC")[7]), str(message.segment("OBR")[27])) == ("^^^^^A", "^^^^^A")
    assert str(message.segment("ZDS")[1]) == "1.2.3.4^100^Application^DICOM"


def test_the_accession_number_stands_for_a_filler_order_number_that_is_not_stated(context, header):
    orc = message_of(ArtifactKind.HL7_OMI, context(headers=[header()])).segment("ORC")
    assert (str(orc[2]), str(orc[3])) == ("", "A1")


def test_what_was_requested_is_told_in_words_where_it_has_no_code(context, header):
    described = header(RequestedProcedureDescription="Knee^two views")
    order = message_of(ArtifactKind.HL7_OMI, context(headers=[described]))
    assert str(order.segment("OBR")[4]) == "^Knee\\S\\two views"


@pytest.mark.parametrize("broken", ["x", [Dataset()]])
def test_a_header_that_says_nothing_of_its_order_is_no_obstacle(broken, context, header):
    bare = header(AccessionNumber=None)
    for keyword in ("RequestAttributesSequence", "ProcedureCodeSequence"):
        if isinstance(broken, list):
            setattr(bare, keyword, broken)
        else:
            bare.add_new(keyword, "LO", broken)
    ipc = message_of(ArtifactKind.HL7_OMI, context(headers=[bare])).segment("IPC")
    assert fields(ipc) == {3: "1.2.3.4"}


def test_a_flag_s_order_is_not_its_decision_s(context, flag):
    build = REGISTRY[ArtifactKind.HL7_OMI].build
    flagged, decided = build(context(result=flag)), build(context())
    assert flagged.uid != decided.uid
    assert flagged.body.split(b"|")[9] != decided.body.split(b"|")[9]


@pytest.mark.parametrize(("version", "kind"), EVERY)
def test_every_message_of_every_version_has_the_structure_that_hl7_s_schemas_ask_for(
    version, kind, context, ordered, tmp_path
):
    body = REGISTRY[kind].build(context(headers=[ordered], form=Hl7Form(version=version))).body
    assert hl7checks.faults(body, tmp_path / "report.txt") == []
    priority = str(hl7.parse(body.decode()).segment("OBR")[27]) if b"\rTQ1|" not in body else None
    assert (version in {"2.3", "2.3.1", "2.4"} or kind is ArtifactKind.HL7_ORM) is (priority == "^^^^^A")


def test_the_check_that_the_tests_above_rely_on_finds_faults(context, ordered, tmp_path):
    body = REGISTRY[ArtifactKind.HL7_OMI].build(context(headers=[ordered])).body
    for broken in (
        body.replace(b"\rIPC|", b"\rZPC|"),
        body.replace(b"|1.2.3.4|", b"||"),
        body.replace(b"\rOBR|", b"\rTXA|"),
        body.replace(b"A^ASAP^HL70485", b"A^ASAP^HL70485^a^b^c^d^e^f^g^h"),
    ):
        assert hl7checks.faults(broken, tmp_path / "report.txt")
