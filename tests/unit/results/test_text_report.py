from io import BytesIO

import pytest
from pydicom import dcmread

from triage_agent.domain.vocabulary import Event, Finding, Outcome
from triage_agent.results.text_report import build_text_report

MAY_HOLD = {"CONTAINER", "TEXT", "CODE", "UIDREF", "IMAGE"}  # of PS3.3 table A.35.1-2


def report_of(context):
    return dcmread(BytesIO(build_text_report(context).body))


def items_of(item):
    for one in item.get("ContentSequence", []):
        yield one
        yield from items_of(one)


def named(report, code):
    return [one for one in items_of(report) if one.get("ConceptNameCodeSequence", [{}])[0].get("CodeValue") == code]


@pytest.fixture(scope="module")
def report(context):
    return report_of(context())


def test_it_is_a_basic_text_sr_and_holds_only_what_that_may(report):
    assert (report.SOPClassUID, report.Modality) == ("1.2.840.10008.5.1.4.1.1.88.11", "SR")
    assert {one.ValueType for one in items_of(report)} <= MAY_HOLD
    assert (report.PreliminaryFlag, report.VerificationFlag, report.CompletionFlag) == (
        "PRELIMINARY",
        "UNVERIFIED",
        "COMPLETE",
    )


def test_the_result_stands_in_sentences_with_the_codes_beside_them(report):
    sections = {one.ConceptNameCodeSequence[0].CodeMeaning: one for one in report.ContentSequence[-2:]}
    assert list(sections) == ["Summary", "Findings"]
    assert sections["Summary"].ContentSequence[0].TextValue == "Preliminary. Made by a machine. Not a diagnosis."
    finding = sections["Findings"].ContentSequence[0].TextValue
    assert finding == "Abnormal (XR_KNEE), probability 0.91. Priority: urgent, ACR category 2, by rule abnormal."
    (normality,), (probability,) = named(report, "121402"), named(report, "122157")
    assert normality.ConceptCodeSequence[0].CodeValue == "263654008"
    assert probability.TextValue == "0.9123 (mean of the scored images)"
    assert named(report, "363698007")[0].ConceptCodeSequence[0].CodeMeaning == "Knee"
    assert named(report, "260870009")[0].ConceptCodeSequence[0].CodeValue == "103391001"
    assert named(report, "ACTIONABLE")[0].ConceptCodeSequence[0].CodeValue == "RID49481"


def test_each_image_has_a_sentence_that_refers_to_it(report):
    told = [one for one in named(report, "121071") if "ContentSequence" in one]
    assert [one.TextValue for one in told] == ["Image 1: probability 0.9000.", "Image 2: probability 0.9100."]
    references = [one.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in told]
    assert references == ["1.2.3.4.1.1", "1.2.3.4.1.2"]
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert len(study.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 2


def test_of_a_study_that_is_not_assessed_no_figure_is_told(context):
    case = context(event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None, acr_category=None, reasons=())
    report = report_of(case)
    assert case.assessments[0].outcome is Outcome.SCORED
    assert named(report, "122157") == []
    (summary,) = named(report, "111017")
    assert summary.ConceptCodeSequence[0].CodeValue == "111244"  # not all succeeded, and an image was at the alert
    told = [one.TextValue for one in named(report, "121071")]
    assert told[1:] == ["Image 1: not assessed.", "Image 2: not assessed."]
    assert report.CompletionFlag == "PARTIAL"
    texts = [one.TextValue for one in named(report, "121106")]
    assert "Not assessed by this machine. A human reads it." in texts
