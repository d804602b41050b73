from dataclasses import replace

import hl7
import pytest

from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority
from triage_agent.results import hl7_segments
from triage_agent.results.registry import REGISTRY

AWKWARD = "a|b^c&d~e\\f\r\ng"


def message_of(context):
    return hl7.parse(REGISTRY[ArtifactKind.HL7_ORU].build(context).body.decode())


def observations(message):
    return {str(obx[3][0][0]): obx for obx in message.segments("OBX")}


def test_the_header_says_what_it_is_and_how_it_is_encoded(context):
    body = REGISTRY[ArtifactKind.HL7_ORU].build(context()).body.decode()
    fields = body.split("\r")[0].split("|")
    assert fields[8] == "ORU^R01^ORU_R01"
    assert (fields[1], fields[10], fields[11], fields[17]) == ("^~\\&", "P", "2.5.1", "UNICODE UTF-8")
    assert fields[6] == "20260301093005+0000"
    assert fields[3] == "St. Göran"
    assert body.endswith("\r")
    assert "\n" not in body


def test_the_control_id_fits_and_comes_from_the_artifact(context, flag):
    build = REGISTRY[ArtifactKind.HL7_ORU].build
    decided, flagged = build(context()), build(context(result=flag))
    ids = [artifact.body.decode().split("|")[9] for artifact in (decided, flagged)]
    assert ids == [hl7_segments.control_id(decided.uid), hl7_segments.control_id(flagged.uid)]
    assert len(set(ids)) == 2
    assert all(len(one) == 20 for one in ids)
    assert decided.uid in decided.body.decode()


def test_the_patient_and_the_order_are_the_source_s(context):
    message = message_of(context())
    pid, obr = message.segment("PID"), message.segment("OBR")
    assert str(pid[3]) == "P1^^^HOSP"
    assert str(pid[5]) == "Lind^Eva^^^^^L^A"
    assert (str(pid[7]), str(pid[8])) == ("19700203", "F")
    assert (str(obr[3]), str(obr[18]), str(obr[20])) == ("A1", "A1", "1.2.3.4")
    assert (str(obr[7]), str(obr[25])) == ("20260301081500", "P")


def test_every_group_of_a_name_becomes_a_repetition_with_suffix_before_prefix(context, header):
    name = "Yamada^Tarou^^Dr^III=山田^太郎=やまだ^たろう"
    pid = message_of(context(headers=[header(PatientName=name)])).segment("PID")
    assert str(pid[5]) == "Yamada^Tarou^^III^Dr^^L^A~山田^太郎^^^^^L^I~やまだ^たろう^^^^^L^P"


def test_the_observations_carry_the_result(context):
    message = message_of(context())
    found = observations(message)
    assert str(found["121071"][5]) == "263654008^Abnormal^SCT^^^^^^Abnormal"
    assert (str(found["122157"][2]), str(found["122157"][5])) == ("NM", "0.9123")
    assert str(found["ACTIONABLE"][5]) == "RID49481^ACR Category 2 Actionable Finding^RADLEX"
    assert str(found["260870009"][5]) == "A^ASAP^HL70485^^^^^^urgent"
    assert str(found["RULE"][5]) == "abnormal"
    assert str(found["STAGE"][5]) == "decision"
    assert str(found["110180"][5]) == "1.2.3.4"
    assert str(found["BUNDLE"][5]) == "embedded 1.2 (0f0f0f0f0f0f)"
    assert str(found["REGION"][5]) == "XR_KNEE"
    assert {str(obx[11]) for obx in message.segments("OBX")} == {"P"}
    assert [str(obx[1]) for obx in message.segments("OBX")] == [str(n + 1) for n in range(len(found))]
    assert str(message.segment("TQ1")[9]) == "A^ASAP^HL70485"


def test_a_flag_is_provisional_and_says_so(context, flag):
    message = message_of(context(result=flag))
    found = observations(message)
    assert (str(found["STAGE"][5]), str(found["122157"][5])) == ("provisional", "0.9700")
    assert str(found["121071"][8]) == "AA"
    assert str(message.segment("TQ1")[9]) == "S^Stat^HL70485"
    assert "1.2.3.4" in str(message)


@pytest.mark.parametrize(
    ("finding", "priority", "letter"),
    [
        (Finding.ABNORMAL, Priority.STAT, "AA"),
        (Finding.ABNORMAL, Priority.URGENT, "A"),
        (Finding.ABNORMAL, Priority.ROUTINE, "A"),
        (Finding.NORMAL, Priority.STAT, "N"),
        (Finding.NORMAL, Priority.ROUTINE, "N"),
        (Finding.UNCERTAIN, Priority.URGENT, "A"),
        (Finding.UNCERTAIN, Priority.STAT, "AA"),
        (Finding.NOT_ASSESSED, Priority.STAT, ""),
    ],
)
def test_the_abnormal_flag_follows_finding_and_priority(finding, priority, letter, context):
    message = message_of(context(finding=finding, priority=priority))
    assert str(observations(message)["121071"][8]) == letter


def test_what_is_uncertain_below_the_threshold_is_marked_neither_way(context):
    message = message_of(context(finding=Finding.UNCERTAIN, priority=Priority.ROUTINE, probability=0.01))
    assert str(observations(message)["121071"][8]) == ""


def test_what_is_not_known_is_left_out(context):
    found = observations(message_of(context(probability=None, acr_category=None, anatomy=None)))
    assert not {"122157", "ACTIONABLE", "REGION"} & set(found)


def test_notes_carry_the_disclaimer_the_warning_and_the_reasons(context):
    notes = [str(nte[3]) for nte in message_of(context()).segments("NTE")]
    assert notes == [
        "Preliminary. Made by a machine. Not a diagnosis.",
        "Made by an embedded demonstration model, not for clinical use.",
        "Two of two.",
        "A rule.",
    ]


def test_separators_and_line_ends_in_values_are_escaped_and_come_back(context, header, model):
    bundle = replace(model, notice=AWKWARD)
    artifact = REGISTRY[ArtifactKind.HL7_ORU].build(
        context(headers=[header(PatientID="7|8^9&0~1")], rule=AWKWARD, model=bundle, institution=AWKWARD)
    )
    message = hl7.parse(artifact.body.decode())
    assert [str(segment[0]) for segment in message].count("MSH") == 1
    for field in (observations(message)["RULE"][5], message.segment("MSH")[4]):
        assert message.unescape(str(field)) == AWKWARD
    assert message.unescape(str(message.segment("PID")[3])) == "7|8^9&0~1^^^HOSP"


@pytest.mark.parametrize("text", ["\x0b", "\x1c", "\x00", "\x1b[31m", "\x85", "\u2028"])
def test_other_control_characters_become_blanks(text):
    assert hl7_segments.escape(text).isprintable()


def test_a_header_without_anything_still_makes_a_message(context, header):
    empty = header()
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
        del empty[keyword]
    message = message_of(context(headers=[empty], institution=""))
    assert str(message.segment("PID")) == "PID|1|||||||"
    assert str(observations(message)["110180"][5]) == "1.2.3.4"
