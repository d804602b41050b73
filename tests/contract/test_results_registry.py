"""What every builder in the registry keeps to: a new one is tested by being listed."""

from dataclasses import replace

import pytest
from pydicom import Dataset
from support import story
from support.evidence import map_of, spot
from support.saying import read, words_of

from triage_agent.domain.decision import Decision
from triage_agent.domain.evidence import EVIDENCE_NOTICE
from triage_agent.domain.sop_classes import RADIOGRAPHS
from triage_agent.domain.study import Assessment
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import ArtifactKind, Event, Family, Finding, Outcome, Priority
from triage_agent.imaging.load import Skipped
from triage_agent.imaging.loader import DirectLoader, load_instance
from triage_agent.results.context import DECISION, EVIDENCE, FLAG, RAISE, ResultContext
from triage_agent.results.registry import REGISTRY

STUDY = "1.2.840.1"
PATIENT = ("Hemlig", "Person", "P-7654321", "ACC-998877", "19611124")
MODEL = replace(story.MODEL, name="embedded", version="1", digest="ab" * 32)
RESULTS = {
    FLAG: story.flag(STUDY, image=f"{STUDY}.1", model=MODEL),
    DECISION: story.decision(STUDY, model=MODEL),
    RAISE: story.decision(STUDY, model=MODEL),
    EVIDENCE: story.decision(STUDY, model=MODEL),
}
CASES = [(kind, occasion) for kind, builder in REGISTRY.items() for occasion in sorted(builder.occasions)]


def header(**without):
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = f"{STUDY}.1", f"{STUDY}.9", STUDY
    dataset.Rows, dataset.Columns, dataset.PhotometricInterpretation = 40, 30, "MONOCHROME2"
    if not without:
        dataset.PatientName, dataset.PatientID = f"{PATIENT[0]}^{PATIENT[1]}", PATIENT[2]
        dataset.AccessionNumber, dataset.PatientBirthDate = PATIENT[3], PATIENT[4]
    return dataset


SCORED = Assessment(sop_instance_uid=f"{STUDY}.1", outcome=Outcome.SCORED, probability=0.8, anatomy="XR_KNEE")


MAPS = {f"{STUDY}.1": map_of(f"{STUDY}.1", spot(40, 30, 10, 20, 6))}


def context(result, **changes):
    values = {"result": result, "headers": (header(),), "assessments": (SCORED,), "maps": MAPS, **changes}
    return ResultContext(**values)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].value}-{case[1]}")
def case(request):
    kind, occasion = request.param
    return REGISTRY[kind], RESULTS[occasion]


def test_every_kind_is_listed_under_its_own_name_and_has_an_occasion():
    assert set(REGISTRY) <= set(ArtifactKind)
    for kind, builder in REGISTRY.items():
        assert builder.kind is kind
        assert builder.occasions
        assert builder.occasions <= {FLAG, DECISION, RAISE, EVIDENCE}


def test_evidence_alone_is_built_of_maps_and_nothing_else_points_anywhere():
    """Promise 6."""
    of_maps = {kind for kind, builder in REGISTRY.items() if EVIDENCE in builder.occasions}
    assert of_maps == {kind for kind in REGISTRY if kind.is_evidence}
    for kind, occasion in CASES:
        artifact = REGISTRY[kind].build(context(RESULTS[occasion]))
        assert (EVIDENCE_NOTICE in words_of(artifact)) is kind.is_evidence
        assert kind.is_evidence or b"PIXEL" not in artifact.body


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
    text = words_of(builder.build(context(result)))
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
    made_of = context(replace(result, priority=priority, acr_category=None, anatomy=None))
    if builder.has_something_to_say(made_of):
        assert builder.build(made_of).body
    else:
        assert result.finding in {Finding.NORMAL, Finding.NOT_ASSESSED}
        assert not builder.tells_of_unscored


@pytest.mark.parametrize("event", [Event.FAILED, Event.EXCLUDED])
@pytest.mark.parametrize("kind", [kind for kind, builder in REGISTRY.items() if builder.tells_of_unscored])
def test_a_study_that_nobody_could_score_is_told_to_be_a_humans(kind, event):
    changes = {"event": event, "finding": Finding.NOT_ASSESSED, "probability": None, "priority": Priority.ROUTINE}
    unsaid = {"acr_category": None, "rule": "not scored", "reasons": ("It cannot be decoded.",)}
    result = replace(RESULTS[DECISION], **changes, **unsaid)
    builder, outcome = REGISTRY[kind], Outcome.FAILED if event is Event.FAILED else Outcome.SKIPPED
    made_of = context(result, assessments=(replace(SCORED, outcome=outcome, probability=None),))
    assert builder.has_something_to_say(made_of)
    text = words_of(builder.build(made_of))
    assert "A human reads it." in text
    assert "Not assessed" in text
    assert "Abnormal" not in text


def test_no_two_kinds_of_object_share_a_series():
    """A series has one modality (PS3.3 C.7.3.1), and its objects different numbers."""
    objects = [read(REGISTRY[kind].build(context(RESULTS[occasion]))) for kind, occasion in CASES if is_object(kind)]
    assert len({one.SeriesInstanceUID for one in objects}) == len({one.SeriesNumber for one in objects}) == len(objects)


def is_object(kind):
    return kind.family is Family.DICOM_OBJECT


@pytest.mark.parametrize("kind", [kind for kind in REGISTRY if kind.family is Family.DICOM_OBJECT])
def test_an_object_is_of_the_patient_and_study_and_names_its_maker(kind):
    made_of = context(RESULTS[DECISION])
    artifact = REGISTRY[kind].build(made_of)
    found = read(artifact)
    assert found.SOPInstanceUID == found.file_meta.MediaStorageSOPInstanceUID == artifact.uid
    assert (found.PatientName, found.PatientID) == (f"{PATIENT[0]}^{PATIENT[1]}", PATIENT[2])
    assert (found.AccessionNumber, found.PatientBirthDate, found.StudyInstanceUID) == (*PATIENT[3:], STUDY)
    (equipment,) = found.ContributingEquipmentSequence
    assert equipment.DeviceUID == made_of.device_uid
    assert equipment.DeviceSerialNumber == MODEL.digest


REPLACING = [kind for kind, one in REGISTRY.items() if one.refers_to_previous and kind.family is Family.DICOM_OBJECT]


@pytest.mark.parametrize("kind", REPLACING)
def test_a_later_revision_names_the_object_that_it_replaces(kind):
    builder, first = REGISTRY[kind], RESULTS[DECISION]
    replaced = builder.build(context(first))
    report = read(builder.build(context(replace(first, revision=2), previous=replaced)))
    (study,) = report.PredecessorDocumentsSequence
    ((reference,),) = (series.ReferencedSOPSequence for series in study.ReferencedSeriesSequence)
    assert reference.ReferencedSOPInstanceUID == replaced.uid
    assert reference.ReferencedSOPClassUID == report.SOPClassUID


def test_a_header_without_patient_or_dates_is_no_obstacle(case):
    builder, result = case
    made_of = context(result, headers=(header(bare=True),))
    assert builder.has_something_to_say(made_of)
    assert builder.build(made_of).body


def test_headers_are_left_as_they_were(case):
    builder, result = case
    given = header()
    before = given.to_json()
    builder.build(context(result, headers=(given,)))
    assert given.to_json() == before


@pytest.mark.parametrize("kind", [kind for kind in REGISTRY if kind.family is Family.DICOM_OBJECT])
def test_an_object_that_a_pacs_sends_back_opens_no_revision_and_is_not_scored(kind, tmp_path):
    """Else each would send the next one, without end."""
    artifact = REGISTRY[kind].build(context(RESULTS[DECISION]))
    assert read(artifact).SOPClassUID not in RADIOGRAPHS
    (tmp_path / "back.dcm").write_bytes(artifact.body)
    assert isinstance(load_instance(DirectLoader(), tmp_path / "back.dcm", secondary_captures=True), Skipped)
