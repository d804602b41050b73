"""Which results leave by which route: of studies that nobody could score, and of kinds that have nothing to say."""

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs

from triage_agent.domain.decision import Route
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority, Status, Unscored
from triage_agent.results.registry import REGISTRY

CT = "1.2.840.10008.5.1.4.1.1.2"
FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
TOLD = [("hl7-oru", "ris"), ("sr", "pacs")]


@pytest.fixture
def told(ward):
    """The ward whose routes tell of studies that nobody could score."""
    ward.routes = [replace(route, unscored=Unscored.RADIOGRAPHS) for route in ward.routes]
    return ward


def sent(ward, kind):
    """The bytes of the one artifact of a kind that waits."""
    return next(
        one.artifact.body
        for one in ward.worklist.claim_deliveries("s1", ward.clock(), ward.clock() - ward.now, 10)
        if one.artifact.kind is kind
    )


def texts_of(report):
    return [one.TextValue for one in report.ContentSequence[-1].ContentSequence]


def test_a_study_that_nobody_could_score_is_told_by_the_routes_that_want_it(told):
    told.receive(broken=True)
    told.decide()
    assert (told.item().status, told.item().priority) == (Status.NEEDS_HUMAN, Priority.ROUTINE)
    assert sorted(told.outbox()) == TOLD


def test_of_a_study_half_of_which_failed_the_report_has_what_the_other_half_shows(told):
    told.routes = [told.routes[0]]
    told.receive(columns=65)
    told.receive(broken=True)
    told.decide()
    assert (told.item().status, told.item().finding) == (Status.NEEDS_HUMAN, Finding.ABNORMAL)
    report = dcmread(BytesIO(sent(told, ArtifactKind.SR)))
    assert (report.CompletionFlag, report.PreliminaryFlag) == ("PARTIAL", "PRELIMINARY")
    assert "Not fully assessed by this machine. A human reads it." in texts_of(report)
    studies, *images = report.ContentSequence[-2].ContentSequence
    assert coded(studies)["111017"] == "111244"  # not all algorithms succeeded; with findings
    assert [coded(image).get("121402") for image in images] == [None, "371934000"]


def coded(group):
    return {
        one.ConceptNameCodeSequence[0].CodeValue: one.ConceptCodeSequence[0].CodeValue
        for one in group.ContentSequence
        if one.ValueType == "CODE"
    }


def test_its_report_and_its_message_say_that_a_human_reads_it(told):
    told.routes = [told.routes[0]]
    told.receive(broken=True)
    told.decide()
    report = dcmread(BytesIO(sent(told, ArtifactKind.SR)))
    assert report.CompletionFlag == "PARTIAL"
    assert "Not assessed by this machine. A human reads it." in texts_of(report)
    said = coded(report.ContentSequence[-2].ContentSequence[0])
    assert (said["121402"], said["111017"]) == ("371934000", "111245")  # undetermined; no algorithm succeeded


def test_its_message_is_neither_normal_nor_abnormal(told):
    told.routes = [told.routes[1]]
    told.receive(broken=True)
    told.decide()
    message = sent(told, ArtifactKind.HL7_ORU).decode()
    finding = next(line.split("|") for line in message.split("\r") if "121071^Finding" in line)
    assert finding[5].startswith("371934000^Normality Undetermined^SCT")
    assert finding[8] == ""
    assert "A human reads it." in message


def test_of_a_study_of_which_some_images_could_be_scored_the_report_says_not_all(told):
    told.routes = [told.routes[0]]
    told.receive(columns=66)
    told.receive(broken=True)
    told.decide()
    assert told.item().status is Status.NEEDS_HUMAN
    assert b"111243" in sent(told, ArtifactKind.SR)


def test_one_route_may_be_told_and_another_not(told):
    told.routes[1] = replace(told.routes[1], unscored=Unscored.NONE)
    told.receive(broken=True)
    told.decide()
    assert told.outbox() == [("sr", "pacs")]


def test_a_raised_study_that_needs_a_human_is_told_as_a_raise_first(told):
    told.receive(columns=65)
    told.receive(broken=True)
    told.decide()
    assert (told.item().status, told.item().finding) == (Status.NEEDS_HUMAN, Finding.ABNORMAL)
    assert told.outbox() == [("hl7-oru", "ris"), ("sr", "pacs"), ("hl7-oru", "ris")]


@pytest.mark.parametrize(
    ("wanted", "sop_class", "outbox"),
    [
        (Unscored.NONE, FOR_PROCESSING, []),
        (Unscored.RADIOGRAPHS, FOR_PROCESSING, TOLD),
        (Unscored.RADIOGRAPHS, CT, []),
        (Unscored.ALL, CT, TOLD),
    ],
)
def test_a_study_out_of_scope_is_told_if_it_has_a_radiograph_or_the_route_wants_all(wanted, sop_class, outbox, ward):
    ward.routes = [replace(route, unscored=wanted) for route in ward.routes]
    ward.receive(SOPClassUID=sop_class)
    ward.decide()
    assert ward.item().status is Status.OUT_OF_SCOPE
    assert sorted(ward.outbox()) == outbox


def test_of_images_that_name_different_patients_nothing_is_told(told):
    told.receive(PatientID="P1", broken=True)
    told.receive(PatientID="P2")
    told.decide()
    assert (told.item().status, told.outbox()) == (Status.NEEDS_HUMAN, [])


def test_a_header_that_cannot_be_read_hinders_only_where_there_is_no_other(told, monkeypatch):
    read, unreadable = told.loader.header, []

    def header(path):
        if path.stem in unreadable:
            raise OSError("torn")
        return read(path)

    monkeypatch.setattr(told.loader, "header", header)
    for study, images in (("1.2.1", 2), ("1.2.2", 1)):
        unreadable.append(told.receive(study=study, broken=True))
        for _ in range(images - 1):
            told.receive(study=study, broken=True)
        with capture_logs():
            told.decide()
        assert told.item(study).status is Status.NEEDS_HUMAN
    assert (sorted(told.outbox("1.2.1")), told.outbox("1.2.2")) == (TOLD, [])


def test_a_retry_tells_of_the_study_as_a_new_revision(told):
    told.routes = [told.routes[0]]
    told.receive(broken=True)
    told.decide()
    assert told.worklist.retry_study("1.2.1", "admin", told.clock()) == 1
    claimed = told.worklist.claim_study("w1", told.clock(), told.clock() - told.now)
    assert told.pipeline.decide_study(claimed, "w1")
    first, second = told.worklist.study("1.2.1").deliveries
    assert (first.revision, second.revision) == (1, 2)
    assert first.uid != second.uid
    assert told.item().status is Status.NEEDS_HUMAN


def test_kinds_that_have_nothing_to_say_of_a_study_are_not_built(ward):
    ward.routes = [Route(to="pacs", send=tuple(kind for kind in REGISTRY if not kind.value.startswith("hl7")))]
    ward.receive(columns=66, study="1.2.1")
    ward.receive(columns=65, study="1.2.2")
    ward.decide()
    ward.decide()
    normal, abnormal = ({kind for kind, _ in ward.outbox(study)} for study in ("1.2.1", "1.2.2"))
    assert ward.item("1.2.1").finding is Finding.NORMAL
    assert abnormal - normal == {"kos"}
    assert {"sr", "sr-comprehensive", "sr-enhanced", "sr-text", "sc", "pdf", "gsps"} <= normal


def test_a_kind_of_which_it_cannot_be_found_out_whether_it_speaks_costs_no_other_kind(ward, monkeypatch):
    def crash(_context):
        raise KeyError("Doe^Jane")

    broken = replace(REGISTRY[ArtifactKind.GSPS], has_something_to_say=crash, build=crash)
    for module in ("pipeline", "results.building"):
        monkeypatch.setattr(f"triage_agent.{module}.REGISTRY", {**REGISTRY, ArtifactKind.GSPS: broken})
    ward.routes = [Route(to="pacs", send=(ArtifactKind.SR, ArtifactKind.GSPS))]
    ward.receive(columns=65)
    with capture_logs() as lines:
        ward.decide()
    assert ward.outbox() == [("sr", "pacs")]
    assert ward.item().status_reason == "the gsps could not be built (KeyError)"
    assert "Doe" not in str(lines)
