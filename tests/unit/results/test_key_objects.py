from dataclasses import replace

import pytest
from highdicom.ko import KeyObjectSelectionDocument
from support.saying import read

from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import Finding, Outcome
from triage_agent.results.key_objects import build_key_objects, has_key_images, key_images


def assessed(number, probability, anatomy="XR_KNEE", outcome=Outcome.SCORED):
    return Assessment(sop_instance_uid=f"1.2.3.4.1.{number}", outcome=outcome, probability=probability, anatomy=anatomy)


def numbers(context):
    return [int(one.sop_instance_uid[-1]) for one in key_images(context)]


def test_it_selects_the_images_at_or_above_the_threshold_and_no_others(context, header):
    scores = [
        assessed(1, 0.9),
        assessed(2, 0.49),
        assessed(3, 0.5),
        assessed(4, 0.9, anatomy="XR_RIBS"),
        assessed(5, 0.9, outcome=Outcome.FAILED),
        assessed(6, 0.9, anatomy=None),
    ]
    case = context(headers=[header(number) for number in range(1, 7)], assessments=scores)
    assert numbers(case) == [1, 3, 6]
    document = KeyObjectSelectionDocument.from_dataset(read(build_key_objects(case)))
    references = document.content.get_references()
    assert [one.referenced_sop_instance_uid for one in references] == [f"1.2.3.4.1.{number}" for number in (1, 3, 6)]
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    (evidence,) = document.CurrentRequestedProcedureEvidenceSequence
    assert len(evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 3


@pytest.mark.parametrize(
    ("finding", "some"),
    [(Finding.ABNORMAL, True), (Finding.UNCERTAIN, True), (Finding.NORMAL, False), (Finding.NOT_ASSESSED, False)],
)
def test_there_is_nothing_to_select_where_nothing_was_found(finding, some, context):
    assert has_key_images(context(finding=finding)) is some


def test_there_is_nothing_to_select_for_a_flag_or_below_the_threshold(context, flag, header):
    assert not has_key_images(context(result=flag))
    assert not has_key_images(context(headers=[header(1)], assessments=[assessed(1, 0.49)]))


def test_its_description_says_what_it_is_and_fits(context, decision):
    case = context(result=replace(decision, reasons=("ж" * 2000,)))
    described = next(
        one
        for one in read(build_key_objects(case)).ContentSequence
        if one.ValueType == "TEXT" and one.ConceptNameCodeSequence[0].CodeValue == "113012"
    )
    assert "Preliminary. Made by a machine. Not a diagnosis." in described.TextValue
    assert len(described.TextValue.encode()) <= 1024
