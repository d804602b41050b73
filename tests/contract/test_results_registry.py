"""What every builder in the registry keeps to: a new one is tested by being listed."""

from dataclasses import replace

import pytest
from pydicom import Dataset
from support import story

from triage_agent.domain.decision import Decision
from triage_agent.domain.study import Assessment
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome, Priority
from triage_agent.results.context import DECISION, FLAG, RAISE, ResultContext
from triage_agent.results.registry import REGISTRY

STUDY = "1.2.840.1"
PATIENT = ("Hemlig", "Person", "P-7654321", "ACC-998877", "19611124")
MODEL = replace(story.MODEL, name="embedded", version="1", digest="ab" * 32)
RESULTS = {
    FLAG: story.flag(STUDY, image=f"{STUDY}.1", model=MODEL),
    DECISION: story.decision(STUDY, model=MODEL),
    RAISE: story.decision(STUDY, model=MODEL),
}
CASES = [(kind, occasion) for kind, builder in REGISTRY.items() for occasion in sorted(builder.occasions)]


def header(**without):
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = f"{STUDY}.1", f"{STUDY}.9", STUDY
    if not without:
        dataset.PatientName, dataset.PatientID = f"{PATIENT[0]}^{PATIENT[1]}", PATIENT[2]
        dataset.AccessionNumber, dataset.PatientBirthDate = PATIENT[3], PATIENT[4]
    return dataset


def context(result, **changes):
    scored = Assessment(sop_instance_uid=f"{STUDY}.1", outcome=Outcome.SCORED, probability=0.8, anatomy="XR_KNEE")
    return ResultContext(**{"result": result, "headers": (header(),), "assessments": (scored,), **changes})


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].value}-{case[1]}")
def case(request):
    kind, occasion = request.param
    return REGISTRY[kind], RESULTS[occasion]


def test_every_kind_is_listed_under_its_own_name_and_has_an_occasion():
    assert set(REGISTRY) <= set(ArtifactKind)
    for kind, builder in REGISTRY.items():
        assert builder.kind is kind
        assert builder.occasions
        assert builder.occasions <= {FLAG, DECISION, RAISE}


def test_an_artifact_says_its_kind_and_has_a_uid_a_body_and_a_summary(case):
    builder, result = case
    artifact = builder.build(context(result))
    assert artifact.kind is builder.kind
    assert is_uid(artifact.uid)
    assert artifact.body
    assert artifact.summary


def test_a_rebuild_is_the_same_artifact(case):
    builder, result = case
    assert builder.build(context(result)) == builder.build(context(result))


def test_the_uid_follows_study_revision_and_bundle_and_nothing_else(case):
    builder, result = case
    uid = builder.build(context(result)).uid
    for change in ({"revision": 2}, {"model": replace(MODEL, digest="cd" * 32)}):
        assert builder.build(context(replace(result, **change))).uid != uid
    for change in ({"priority": Priority.STAT}, {"reasons": ("Another reason.",)}):
        assert builder.build(context(replace(result, **change))).uid == uid


def test_no_two_artifacts_share_a_uid():
    uids = [REGISTRY[kind].build(context(RESULTS[occasion])).uid for kind, occasion in CASES]
    assert len(set(uids)) == len(CASES)


def test_the_output_says_what_it_is(case):
    """Promise 6: that it is preliminary and a machine's, by what, and that a bundle is not for clinical use."""
    builder, result = case
    text = builder.build(context(result)).body.decode("utf-8", "replace")
    for said in ("Preliminary. Made by a machine. Not a diagnosis.", "not for clinical use", "embedded", STUDY):
        assert said in text
    assert MODEL.digest[:12] in text


def test_the_summary_names_no_patient(case):
    builder, result = case
    artifact = builder.build(context(result))
    assert not [word for word in PATIENT if word in artifact.summary]


@pytest.mark.parametrize("finding", Finding)
@pytest.mark.parametrize("priority", Priority)
def test_every_result_can_be_built(finding, priority, case):
    builder, result = case
    if isinstance(result, Decision):
        probability = None if finding is Finding.NOT_ASSESSED else 0.25
        result = replace(result, finding=finding, probability=probability)
    assert builder.build(context(replace(result, priority=priority, acr_category=None, anatomy=None))).body


def test_a_header_without_patient_or_dates_is_no_obstacle(case):
    builder, result = case
    assert builder.build(context(result, headers=(header(bare=True),))).body


def test_headers_are_left_as_they_were(case):
    builder, result = case
    given = header()
    before = given.to_json()
    builder.build(context(result, headers=(given,)))
    assert given.to_json() == before
