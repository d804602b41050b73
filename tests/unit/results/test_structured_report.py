import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO

import pytest
from highdicom.sr import srread
from pydicom import dcmread
from pydicom.sr.codedict import codes

from triage_agent.domain.errors import TriageError
from triage_agent.domain.study import Assessment
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID, is_uid
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority
from triage_agent.results.structured_report import build_structured_report
from triage_agent.results.summary import sr_summary
from triage_agent.sections.results import ResultsSettings


def report_of(context):
    return dcmread(BytesIO(build_structured_report(context).body))


def groups_of(context):
    return srread(BytesIO(build_structured_report(context).body)).content.get_image_measurement_groups()


@pytest.fixture(scope="module")
def artifact(context):
    """The report of the decision as the fixtures have it; read by many tests, changed by none."""
    return build_structured_report(context())


@pytest.fixture(scope="module")
def report(artifact):
    return dcmread(BytesIO(artifact.body))


@pytest.fixture(scope="module")
def content(artifact):
    return srread(BytesIO(artifact.body)).content


@pytest.fixture(scope="module")
def groups(content):
    return content.get_image_measurement_groups()


def evaluations(group):
    """By code; highdicom counts the algorithm's family (111000) among them."""
    found = {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}
    return {name: value for name, value in found.items() if name != "111000"}


def texts_of(report):
    container = next(item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    return [item.TextValue for item in container.ContentSequence]


def evidence_of(report):
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    return {
        (series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def assessed(number, outcome=Outcome.SCORED, probability=0.9):
    return Assessment(
        sop_instance_uid=f"1.2.3.4.1.{number}",
        outcome=outcome,
        probability=probability if outcome is Outcome.SCORED else None,
        anatomy="XR_KNEE",
    )


def test_it_is_a_preliminary_unverified_comprehensive_3d_sr_of_the_same_patient_and_study(report):
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert (report.VerificationFlag, report.PreliminaryFlag, report.CompletionFlag) == (
        "UNVERIFIED",
        "PRELIMINARY",
        "COMPLETE",
    )
    assert (report.PatientName, report.PatientID, report.IssuerOfPatientID) == ("Lind^Eva", "P1", "HOSP")
    assert (report.StudyInstanceUID, report.StudyDate, report.AccessionNumber) == ("1.2.3.4", "20260301", "A1")
    assert (report.Modality, report.SpecificCharacterSet, report.InstanceNumber) == ("SR", "ISO_IR 192", 2)
    assert (report.ContentDate, report.ContentTime) == ("20260301", "093005.250000")
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"


def test_the_study_group_has_the_exact_figures_and_codes(groups):
    study, *_ = groups
    (measured,) = study.get_measurements()
    assert measured.name == codes.DCM.Probability
    assert measured.value == pytest.approx(0.912346, abs=1e-9)
    assert (measured.unit, measured.derivation) == (codes.UCUM.NoUnits, codes.SCT.Mean)
    assert evaluations(study) == {
        "121402": "263654008",
        "111017": "111242",
        "260870009": "103391001",
        "ACTIONABLE": "RID49481",
    }
    assert [site.value.value for site in study.finding_sites] == ["72696002"]
    assert study.finding_sites[0].laterality.value == "7771000"
    assert study.tracking_identifier == "Study"


def test_each_image_has_its_own_group_with_its_probability_and_its_reference(groups):
    _, *images = groups
    assert [group.get_measurements()[0].value for group in images] == pytest.approx([0.9, 0.91])
    assert [group.source_images[0].referenced_sop_instance_uid for group in images] == ["1.2.3.4.1.1", "1.2.3.4.1.2"]
    assert len({group.tracking_uid for group in images}) == 2


def test_the_device_and_the_algorithm_are_named_and_the_device_uid_follows_the_bundle(context, model, report, content):
    (equipment,) = report.ContributingEquipmentSequence
    assert equipment.Manufacturer
    assert equipment.ManufacturerModelName == "triage-agent with embedded"
    assert list(equipment.SoftwareVersions) == ["9.8.7", "1.2"]
    other = report_of(context(model=replace(model, digest="1f" * 32)))
    assert is_uid(equipment.DeviceUID)
    assert other.ContributingEquipmentSequence[0].DeviceUID != equipment.DeviceUID
    observer = content.get_observer_contexts()[0]
    assert observer.observer_identifying_attributes.uid == equipment.DeviceUID


def test_a_rebuild_is_the_same_bytes_and_another_result_is_another_object(context, model, artifact, report):
    assert build_structured_report(context()) == artifact
    others = [context(revision=3), context(model=replace(model, digest="1f" * 32))]
    uids = {artifact.uid, *(build_structured_report(other).uid for other in others)}
    assert len(uids) == 3
    assert report.SOPInstanceUID == artifact.uid


def test_the_file_says_which_software_wrote_it(report):
    assert report.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID


def test_the_evidence_lists_every_radiograph_and_everything_considered(context, header):
    headers = [
        header(1),
        header(2, SeriesInstanceUID="1.2.3.4.2"),
        header(3),  # a radiograph that was not assessed
        header(4, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),  # a secondary capture that was scored
        header(5, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33"),  # somebody's report
        header(1),
    ]
    assessments = [assessed(1), assessed(2), assessed(4), assessed(5, Outcome.SKIPPED)]
    assert evidence_of(report_of(context(headers=headers, assessments=assessments))) == {
        ("1.2.3.4.1", "1.2.3.4.1.1"),
        ("1.2.3.4.2", "1.2.3.4.1.2"),
        ("1.2.3.4.1", "1.2.3.4.1.3"),
        ("1.2.3.4.1", "1.2.3.4.1.4"),
    }


def test_headers_that_cannot_be_referred_to_are_left_out(context, header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken = [header(2, SeriesInstanceUID="no uid"), header(3, StudyInstanceUID="9.9"), header(4, SOPClassUID=None)]
    report = report_of(context(headers=[*broken, header(1)], assessments=[assessed(1)]))
    assert evidence_of(report) == {("1.2.3.4.1", "1.2.3.4.1.1")}
    with pytest.raises(TriageError, match="no instance of the study can be referred to"):
        build_structured_report(context(headers=broken, assessments=[]))


def test_what_intake_settled_stands_in_for_identifiers_that_the_header_lacks(context, header, stored):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken = [header(1, SeriesInstanceUID="no uid"), header(2, SeriesInstanceUID=None, SOPClassUID=None)]
    known = [stored(1, "2.25.7"), stored(2, "2.25.7")]
    report = report_of(replace(context(headers=broken, assessments=[assessed(1), assessed(2)]), stored=known))
    assert evidence_of(report) == {("2.25.7", "1.2.3.4.1.1"), ("2.25.7", "1.2.3.4.1.2")}


def test_a_later_report_names_the_one_that_it_replaces(context, artifact, report):
    later = report_of(replace(context(revision=3), previous=artifact))
    (study,) = later.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.3.4", report.SeriesInstanceUID)
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (report.SOPClassUID, artifact.uid)
    assert "PredecessorDocumentsSequence" not in report  # it is the first


def test_a_report_of_another_study_is_no_predecessor(context, header, decision):
    other = context(headers=[header(StudyInstanceUID="9.9")], study_instance_uid="9.9")
    later = report_of(replace(context(), previous=build_structured_report(other)))
    assert "PredecessorDocumentsSequence" not in later


def test_without_assessments_the_study_s_result_is_still_reported(context):
    groups = groups_of(context(assessments=()))
    assert [group.tracking_identifier for group in groups] == ["Study"]
    assert len(groups[0].source_images) == 2


@pytest.mark.parametrize(
    ("finding", "outcomes", "normality", "summary"),
    [
        (Finding.ABNORMAL, "SS", "263654008", "111242"),
        (Finding.NORMAL, "SS", "17621005", "111241"),
        (Finding.UNCERTAIN, "SS", "371934000", "111242"),
        (Finding.ABNORMAL, "SF", "263654008", "111244"),
        # No code that a viewer could take for a negative stands beside what was not settled or not assessed.
        (Finding.UNCERTAIN, "ss", "371934000", None),
        (Finding.NOT_ASSESSED, "SS", "371934000", None),
        # But of one that failed it says how much of it did.
        (Finding.UNCERTAIN, "sF", "371934000", "111243"),
        (Finding.NOT_ASSESSED, "SF", "371934000", "111244"),
        (Finding.NOT_ASSESSED, "FF", "371934000", "111245"),
    ],
)
def test_finding_and_failures_are_coded(finding, outcomes, normality, summary, context):
    kinds = {"S": Outcome.SCORED, "s": Outcome.SCORED, "F": Outcome.FAILED}
    low = {"s": 0.1}
    assessments = [
        assessed(number, kinds[letter], low.get(letter, 0.9)) for number, letter in enumerate(outcomes, start=1)
    ]
    probability = None if finding is Finding.NOT_ASSESSED else 0.1 if "s" in outcomes else 0.7
    event = Event.FAILED if "F" in outcomes else Event.DECIDED  # as the policy has it
    case = context(assessments=assessments, finding=finding, probability=probability, event=event)
    report = srread(BytesIO(build_structured_report(case).body))
    study, *images = report.content.get_image_measurement_groups()
    assert (evaluations(study)["121402"], evaluations(study).get("111017")) == (normality, summary)
    assert len(study.get_measurements()) == (probability is not None)
    told = finding is not Finding.NOT_ASSESSED  # beside the threshold, a probability would be read as a finding
    assert [len(group.get_measurements()) for group in images] == [told and letter in "Ss" for letter in outcomes]
    assert report.CompletionFlag == ("PARTIAL" if "F" in outcomes else "COMPLETE")


@pytest.mark.parametrize(
    ("priority", "category", "urgency", "actionable"),
    [
        (Priority.ROUTINE, None, None, None),
        (Priority.URGENT, "3", "103391001", "RID49482"),
        (Priority.STAT, "1", "25876001", "RID49480"),
    ],
)
def test_priority_and_category_are_coded_where_there_is_a_code_for_them(
    priority, category, urgency, actionable, context
):
    found = evaluations(groups_of(context(priority=priority, acr_category=category))[0])
    assert (found.get("260870009"), found.get("ACTIONABLE")) == (urgency, actionable)


def test_the_text_says_who_made_it_that_it_is_preliminary_and_why(report):
    assert texts_of(report) == [
        "Preliminary. Made by a machine. Not a diagnosis.",
        "Made by an embedded demonstration model, not for clinical use.",
        "Priority: urgent, ACR category 2, by rule abnormal.",
        "Two of two.",
        "A rule.",
        "Bundle: embedded 1.2 (0f0f0f0f0f0f).",
    ]


def test_a_clinical_bundle_makes_no_such_warning_and_its_notice_is_repeated(context, model):
    texts = texts_of(report_of(context(model=replace(model, clinical_use=True, notice="Under licence."))))
    assert "Under licence." in texts
    assert not any("not for clinical use" in text for text in texts)


@pytest.mark.parametrize(
    ("sides", "laterality"), [("LL", "7771000"), ("LR", None), (("", "L"), None), ("BB", "51440002")]
)
def test_the_study_has_a_side_only_when_all_its_images_agree(sides, laterality, context, header):
    headers = [header(number, ImageLaterality=side) for number, side in enumerate(sides, start=1)]
    found = groups_of(context(headers=headers))[0].finding_sites[0].laterality
    assert (found and found.value) == laterality


@pytest.mark.parametrize("anatomy", [None, "XR_UNHEARD_OF"])
def test_a_region_without_a_code_has_no_finding_site(anatomy, context):
    assert groups_of(context(anatomy=anatomy))[0].finding_sites == []


@pytest.mark.parametrize(
    ("from_image", "said"),
    [((True, True), [True] * 3), ((False, True), [False, False, True]), ((False,) * 2, [False] * 3)],
)
def test_a_region_that_the_model_named_is_coded_and_said_to_be_its_own(from_image, said, context):
    """Of the study it is the model's only where no header states it."""
    named = [replace(assessed(number), anatomy_from_image=one) for number, one in enumerate(from_image, start=1)]
    groups = groups_of(context(assessments=named))
    assert [[site.value.value for site in group.finding_sites] for group in groups] == [["72696002"]] * 3
    comments = [
        [one.TextValue for one in group[0].ContentSequence if one.name == codes.DCM.Comment] for group in groups
    ]
    assert [any("inferred by the model from the image" in text for text in texts) for texts in comments] == said


def test_nothing_refers_to_a_place_within_an_image(groups):
    kinds = {item.ValueType for group in groups for item in group[0].ContentSequence}
    assert not kinds & {"SCOORD", "SCOORD3D"}


def test_dates_are_in_the_source_s_zone_or_the_site_s(context, header):
    stated = report_of(context(headers=[header(TimezoneOffsetFromUTC="+0200")], assessments=[assessed(1)]))
    assert (stated.ContentTime, stated.TimezoneOffsetFromUTC) == ("113005.250000", "+0200")
    site = report_of(replace(context(), timezone=timezone(timedelta(hours=-5))))
    assert (site.ContentTime, site.TimezoneOffsetFromUTC) == ("043005.250000", "-0500")
    nobody = report_of(context())
    assert (nobody.ContentTime, "TimezoneOffsetFromUTC" in nobody) == ("093005.250000", False)


@pytest.mark.parametrize(
    ("zone", "at", "written"),
    [
        ("Europe/Stockholm", datetime(2026, 3, 1, 23, 30, tzinfo=UTC), ("20260302", "003000.000000", "+0100")),
        ("Europe/Stockholm", datetime(2026, 7, 1, 23, 30, tzinfo=UTC), ("20260702", "013000.000000", "+0200")),
        ("Asia/Kolkata", datetime(2026, 3, 1, 9, 0, tzinfo=UTC), ("20260301", "143000.000000", "+0530")),
        ("UTC", datetime(2026, 3, 1, 9, 0, tzinfo=UTC), ("20260301", "090000.000000", "+0000")),
    ],
)
def test_dates_are_in_the_site_s_zone_as_it_is_at_that_moment(zone, at, written, context):
    report = report_of(replace(context(decided_at=at), timezone=ResultsSettings(time_zone=zone).zone()))
    assert (report.ContentDate, report.ContentTime, report.TimezoneOffsetFromUTC) == written
    assert report.InstanceCreationTime == report.ContentTime
    assert report.StudyTime == "081500"  # the images', as it stood there


def test_the_summary_says_the_result_in_words_without_the_patient(artifact, decision, flag):
    said = sr_summary(decision)
    assert said.startswith("Abnormal (XR_KNEE), probability 0.91. Priority: urgent, ACR category 2")
    assert said.endswith("Preliminary. Made by a machine. Not a diagnosis.")
    assert "provisional" in sr_summary(flag)
    assert "Lind" not in artifact.summary


def test_a_flag_makes_no_report(context, flag):
    with pytest.raises(TypeError, match="not of a flag"):
        build_structured_report(context(result=flag))


@pytest.mark.parametrize(
    ("outcomes", "probability", "anatomy", "summary"),
    [
        ("FF", 0.1, "XR_KNEE", "111245"),
        ("SF", 0.1, "XR_KNEE", "111243"),
        ("SF", 0.95, "XR_KNEE", "111244"),  # it raised the study
        ("SF", 0.95, "XR_CHEST", "111243"),  # it did not: the bundle does not know the region
    ],
)
def test_of_a_study_that_failed_it_is_coded_how_much_could_be_done(outcomes, probability, anatomy, summary, context):
    kinds = {"S": Outcome.SCORED, "F": Outcome.FAILED}
    assessments = [
        replace(assessed(number, kinds[letter], probability), anatomy=anatomy)
        for number, letter in enumerate(outcomes, start=1)
    ]
    case = context(assessments=assessments, event=Event.FAILED, finding=Finding.NOT_ASSESSED, probability=None)
    study, *_ = groups_of(case)
    assert (evaluations(study)["121402"], evaluations(study)["111017"]) == ("371934000", summary)
