"""A destination's own form: version, character set, names, the site's own fields, and what a result is called."""

from dataclasses import replace

import hl7
import pytest
from support import hl7checks

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.hl7_form import Hl7Form
from triage_agent.domain.vocabulary import ArtifactKind, Priority
from triage_agent.results.hl7_example import example_message
from triage_agent.results.hl7_fields import NAMES, require_usable
from triage_agent.results.hl7_segments import named_values
from triage_agent.results.hl7_versions import CODECS
from triage_agent.results.registry import REGISTRY

ORU, OMI = ArtifactKind.HL7_ORU, ArtifactKind.HL7_OMI


def built(context, kind=ORU, **form):
    return REGISTRY[kind].build(context(form=Hl7Form(**form)))


def message_of(context, kind=ORU, **form):
    return hl7.parse(built(context, kind, **form).body.decode(CODECS[form.get("charset", "UNICODE UTF-8")]))


def own(**fields):
    """Fields whose `-` and brackets a keyword cannot have: OBX_rule_3 is OBX[rule]-3, PID_3_4 is PID-3.4."""
    pairs = []
    for name, template in fields.items():
        parts = name.split("_")
        target = f"{parts[0]}[{parts[1]}]-{parts[2]}" if not parts[1].isdigit() else f"{parts[0]}-{'.'.join(parts[1:])}"
        pairs.append((target, template))
    return tuple(pairs)


def test_names_of_sender_and_receiver_are_the_site_s(context):
    msh = message_of(
        context,
        sending_application="TRIAGE^1.2.3^ISO",
        sending_facility="SITE",
        receiving_application="RIS",
        receiving_facility="HOSP",
    ).segment("MSH")
    assert [str(msh[number]) for number in (3, 4, 5, 6)] == ["TRIAGE^1.2.3^ISO", "SITE", "RIS", "HOSP"]


def test_a_form_of_a_destination_s_own_is_another_object_and_the_usual_one_stays_as_it_was(context):
    usual, other = built(context), built(context, version="2.4")
    assert usual.uid == context().uid("hl7-oru")
    assert other.uid != usual.uid
    assert built(context, version="2.4") == other
    assert other.body.split(b"|")[9] != usual.body.split(b"|")[9]


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4"])
def test_before_2_5_the_priority_is_the_sixth_component_of_obr_27(version, context):
    message = message_of(context, version=version)
    assert "TQ1" not in {str(segment[0]) for segment in message}
    assert str(message.segment("OBR")[27]) == "^^^^^A"


def test_old_versions_get_no_field_and_no_component_that_they_do_not_have(context):
    message = message_of(context, version="2.3")
    assert str(message.segment("MSH")[9]) == "ORU^R01"
    finding = message.segments("OBX")[0]
    assert (len(finding) - 1, str(finding[2]), str(finding[5])) == (14, "CE", "263654008^Abnormal^SCT")


@pytest.mark.parametrize("charset", CODECS)
def test_every_character_set_is_declared_and_written(charset, context, header):
    letters = {"8859/5": "Иванов", "8859/6": "محمد", "8859/7": "Νίκος", "8859/8": "כהן", "KS X 1001": "김철수"}
    name = letters.get(charset, "Lind" if charset == "ASCII" else "Göran")
    artifact = REGISTRY[ORU].build(context(headers=[header(PatientName=f"{name}^X")], form=Hl7Form(charset=charset)))
    lines = artifact.body.decode(CODECS[charset]).split("\r")
    assert lines[0].split("|")[17] == charset
    assert lines[1].split("|")[5].startswith(f"{name}^X^")


def test_what_a_character_set_cannot_write_is_seen_to_be_missing_and_breaks_nothing(context, header):
    names = [header(PatientName="Łódź|^山田")]
    artifact = REGISTRY[ORU].build(context(headers=names, form=Hl7Form(charset="8859/1")))
    pid = hl7.parse(artifact.body.decode("iso8859_1")).segment("PID")
    assert str(pid[5]) == "?ód?\\F\\^??^^^^^L^A"


def test_a_site_s_fields_replace_ours_and_take_values_by_name(context):
    fields = own(
        OBR_4="{region}^AI triage {probability}^L",
        PID_3_4="HOSP&1.2&ISO",
        OBX_rule_3="99RULE^Rule^L",
        PV1_2="E",
        PV1_19_1="{accession}",
        MSH_11="T",
    )
    message = message_of(context, fields=fields)
    assert str(message.segment("OBR")[4]) == "XR_KNEE^AI triage 0.9123^L"
    assert str(message.segment("PID")[3]) == "P1^^^HOSP&1.2&ISO"
    assert str(message.segment("MSH")[11]) == "T"
    assert (str(message.segment("PV1")[2]), str(message.segment("PV1")[19])) == ("E", "A1")
    assert [str(segment[0]) for segment in message][:4] == ["MSH", "PID", "PV1", "OBR"]
    named = {str(obx[5]): str(obx[3]) for obx in message.segments("OBX")}
    assert named["abnormal"] == "99RULE^Rule^L"
    assert "99RULE^Rule^L" not in [name for value, name in named.items() if value != "abnormal"]


def test_a_value_cannot_break_out_of_its_field(context, header):
    hostile = [header(StudyDescription="a|b^c\rOBX|1|ST|x~y\\")]
    form = Hl7Form(fields=own(OBR_4="X^{study_description}^L"))
    message = hl7.parse(REGISTRY[ORU].build(context(headers=hostile, form=form)).body.decode())
    assert str(message.segment("OBR")[4]).split("^")[0::2] == ["X", "L"]
    assert {str(one[0]) for one in message} == {"MSH", "PID", "OBR", "NTE", "TQ1", "OBX"}


def test_a_site_s_fields_hold_for_orders_too(context):
    ipc = message_of(context, OMI, fields=own(IPC_2="{accession}", ORC_1="SC")).segment("IPC")
    assert str(ipc[2]) == "A1"


def test_every_name_that_a_template_may_use_has_a_value(context, flag):
    assert set(named_values(context())) == set(NAMES)
    assert set(named_values(context(result=flag))) == set(NAMES)


@pytest.mark.parametrize(
    ("target", "template", "says"),
    [
        ("OBR", "x", "'OBR' is no field; write OBR-4"),
        ("OBR-0", "x", "is no field"),
        ("obr-4", "x", "is no field"),
        ("ZZZ-1", "x", "no message of version 2.5.1 has ZZZ"),
        ("IPC-10", "x", "IPC ends with field 9 in version 2.5.1"),
        ("MSH-18", "x", "MSH-18 cannot be set; it follows from charset"),
        ("MSH-3.1", "x", "it follows from sending_application"),
        ("OBX-11", "F", "it follows from result_status"),
        ("OBX[rul]-3", "x", "there is no such observation; OBX[...] takes finding"),
        ("OBR[rule]-3", "x", "there is no such observation"),
        ("OBR-4", "{patient}", "{patient} is no value by a name; known are accession"),
        ("OBR-4", "{rule.__class__}", "is no value by a name"),
        ("OBR-4", "{rule!r}", "is no value by a name"),
        ("OBR-4", "{rule:>99999999}", "is no value by a name"),
        ("OBR-4", "{}", "is no value by a name"),
        ("OBR-4", "{rule", "write a brace that is meant as such twice"),
        ("OBR-4", "a|b", "which ends a field or a segment"),
        ("OBR-4", "a\rOBX|1", "which ends a field or a segment"),
        ("OBR-4", "x" * 1001, "is longer than 1000 characters"),
    ],
)
def test_a_field_that_cannot_be_written_is_refused(target, template, says):
    with pytest.raises(ConfigurationError) as refused:
        require_usable(Hl7Form(fields=((target, template),)))
    assert says in str(refused.value)


def test_names_of_sender_and_receiver_cannot_break_a_message():
    with pytest.raises(ConfigurationError, match="receiving_facility holds"):
        require_usable(Hl7Form(receiving_facility="a|b"))


@pytest.mark.parametrize(("earlier", "result"), [(None, "F"), ("flag", "F"), ("decision", "C")])
def test_a_site_may_call_a_decision_final_and_what_follows_it_a_correction(earlier, result, context, flag):
    previous = {"flag": flag, "decision": context().result}.get(earlier)
    previous = previous and REGISTRY[ORU].build(context(result=previous))
    message = hl7.parse(
        REGISTRY[ORU].build(context(form=Hl7Form(result_status="final"), previous=previous)).body.decode()
    )
    assert str(message.segment("OBR")[25]) == result
    assert {str(obx[11]) for obx in message.segments("OBX")} == {result}
    assert "Preliminary. Made by a machine. Not a diagnosis." in str(message)


def test_a_flag_is_preliminary_whatever_a_decision_is_called_until_there_was_a_final_one(context, flag):
    def status(**more):
        form = Hl7Form(result_status="final")
        return str(
            hl7.parse(REGISTRY[ORU].build(context(result=flag, form=form, **more)).body.decode()).segment("OBR")[25]
        )

    assert status() == "P"
    assert status(previous=REGISTRY[ORU].build(context())) == "C"


@pytest.mark.parametrize(
    ("mode", "asked"), [("original", ("", "")), ("accept", ("AL", "NE")), ("application", ("AL", "AL"))]
)
def test_which_acknowledgement_is_asked_for_stands_in_the_header(mode, asked, context):
    msh = message_of(context, acknowledgement=mode).segment("MSH")
    assert (str(msh[15]), str(msh[16])) == asked


@pytest.mark.parametrize("kind", [ORU, OMI, ArtifactKind.HL7_ORM])
def test_an_example_shows_the_form_and_names_nobody(kind, tmp_path):
    form = Hl7Form(version="2.5", charset="8859/1", receiving_application="RIS")
    segments = example_message((kind, form), "Södersjukhuset")
    assert segments[0].split("|")[3:5] == ["Södersjukhuset", "RIS"]
    assert "EXAMPLE^PATIENT" in segments[1]
    assert hl7checks.faults("\r".join(segments).encode(), tmp_path / "report") == []


def test_forms_do_not_change_what_is_said(context):
    priorities = set()
    for version in ("2.3", "2.5.1"):
        message = message_of(lambda **more: context(priority=Priority.STAT, **more), version=version)
        priorities.add(str(message.segments("OBX")[3][5]).split("^")[0])
    assert priorities == {"S"}
    assert replace(Hl7Form(), version="2.4").key != Hl7Form().key == ""
