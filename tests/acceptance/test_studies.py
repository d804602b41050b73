"""What becomes of studies, ordinary and odd ones, from the C-STORE to the report at the PACS."""

import time

import pytest
from pydicom.uid import generate_uid
from support.agent import eventually
from support.xrays import inverted, picture, radiograph, send, truncated

QUIET_SECONDS = 0.5  # of the agent here


@pytest.fixture(scope="module")
def hospital(shared_agent, shared_pacs, tiny_bundle):
    return Hospital(shared_agent(bundle=tiny_bundle, pacs_port=shared_pacs.port), shared_pacs)


class Hospital:
    """An agent and its PACS, in short sentences."""

    def __init__(self, agent, pacs):
        self.agent = agent
        self.pacs = pacs

    def send(self, *data_sets, **who):
        return list(send(self.agent.port, *data_sets, **who).values())

    def settled(self, *data_sets):
        self.send(*data_sets)
        return self.agent.settled(*dict.fromkeys(one.StudyInstanceUID for one in data_sets))

    def reports(self, data_set):
        return [
            each
            for each in self.pacs.objects
            if each.get("Modality") == "SR" and each.StudyInstanceUID == data_set.StudyInstanceUID
        ]

    def evidence(self, report):
        """The SOP Instance UIDs that a report refers to."""
        return {
            reference.ReferencedSOPInstanceUID
            for study in report.CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for reference in series.ReferencedSOPSequence
        }


def test_a_study_of_two_images_is_decided_by_their_mean_and_reported_once(hospital):
    first = radiograph(seed=1)
    second = radiograph(seed=2, study=first.StudyInstanceUID)
    (item,) = hospital.settled(first, second)
    assert (item["status"], item["instances"], item["revision"]) == ("delivered", 2, 1)
    scores = [one["assessment"]["probability"] for one in hospital.agent.study(first.StudyInstanceUID)["instances"]]
    assert item["probability"] == pytest.approx(sum(scores) / 2)
    (report,) = hospital.reports(first)
    assert hospital.evidence(report) >= {first.SOPInstanceUID, second.SOPInstanceUID}


def test_an_image_that_comes_late_opens_a_revision_with_a_report_of_its_own(hospital):
    first = radiograph(seed=3)
    hospital.settled(first)
    late = radiograph(seed=4, study=first.StudyInstanceUID)
    assert hospital.send(late) == [0x0000]

    def second_revision():
        item = hospital.agent.item(first.StudyInstanceUID)
        return item if (item["revision"], item["status"]) == (2, "delivered") else None

    item = eventually(second_revision)
    assert item["instances"] == 2
    before, after = hospital.reports(first)
    assert before.SOPInstanceUID != after.SOPInstanceUID
    assert late.SOPInstanceUID not in hospital.evidence(before)
    assert late.SOPInstanceUID in hospital.evidence(after)


def test_our_own_report_that_the_pacs_sends_back_is_kept_and_answered_with_no_other(hospital):
    """As where a rule of the PACS forwards whole studies, whenever something of them is new."""
    image = radiograph(seed=12)
    hospital.settled(image)
    (report,) = hospital.reports(image)
    before = hospital.agent.item(image.StudyInstanceUID)
    assert hospital.send(report) == [0x0000]
    time.sleep(3 * QUIET_SECONDS)
    assert hospital.agent.item(image.StudyInstanceUID) == {**before, "instances": 2}
    assert len(hospital.reports(image)) == 1


def test_an_image_that_comes_again_is_acknowledged_and_nothing_is_done_twice(hospital):
    image = radiograph(seed=5)
    hospital.settled(image)
    (report,) = hospital.reports(image)
    assert hospital.send(image, image) == [0x0000]  # one UID, so one entry: the last answer
    other = radiograph(seed=6)
    hospital.settled(other)  # whatever the copies set off would have been done before this
    (item,) = hospital.settled(image)
    assert (item["status"], item["revision"], item["instances"]) == ("delivered", 1, 1)
    assert hospital.reports(image) == [report]
    assert hospital.pacs.times_stored(report.SOPInstanceUID) == 1
    assert hospital.agent.actions(image.StudyInstanceUID).count("instance_duplicate") == 2 + 1


def test_other_bytes_under_a_known_uid_are_set_aside_and_the_first_copy_stays(hospital):
    image = radiograph(seed=7)
    (before,) = hospital.settled(image)
    image.AccessionNumber = "A2"
    assert hospital.send(image) == [0x0000]
    eventually(lambda: "instance_conflict" in hospital.agent.actions(image.StudyInstanceUID))
    after = hospital.agent.item(image.StudyInstanceUID)
    assert after == before
    assert len(list((hospital.agent.data_dir / "spool" / "quarantine").rglob("*.dcm"))) >= 1


def test_a_stranger_is_rejected_and_nothing_of_it_is_kept(hospital):
    image = radiograph()
    assert hospital.send(image, calling="STRANGER") == []
    assert hospital.send(image, called="WRONG") == []
    assert hospital.agent.item(image.StudyInstanceUID) is None


def test_an_image_whose_pixels_broke_off_needs_a_human_and_is_not_reported(hospital):
    image = truncated(radiograph(RequestedProcedurePriority="HIGH"))
    (item,) = hospital.settled(image)
    assert (item["status"], item["finding"], item["probability"]) == ("needs_human", "not_assessed", None)
    assert item["priority"] == item["priority_at_arrival"] == "urgent"
    assert item["status_reason"]
    (instance,) = hospital.agent.study(image.StudyInstanceUID)["instances"]
    assert instance["assessment"]["outcome"] == "failed"
    assert instance["assessment"]["reason"].rstrip(".") in item["status_reason"]
    assert hospital.reports(image) == []


def test_a_study_with_one_good_image_and_one_broken_one_is_never_called_normal(hospital):
    good = radiograph(seed=8)
    (item,) = hospital.settled(good, truncated(radiograph(seed=9, study=good.StudyInstanceUID)))
    assert item["status"] == "needs_human"
    assert item["finding"] != "normal"
    assert "1 of 2 images could not be scored" in item["status_reason"]
    assert hospital.reports(good) == []


def test_a_blank_image_needs_a_human(hospital):
    (item,) = hospital.settled(radiograph(picture() * 0))
    assert (item["status"], item["finding"]) == ("needs_human", "not_assessed")
    assert "blank" in item["status_reason"]


def test_a_chest_is_out_of_scope_with_the_reason(hospital):
    image = radiograph(body_part="CHEST")
    (item,) = hospital.settled(image)
    assert (item["status"], item["finding"]) == ("out_of_scope", "not_assessed")
    assert "chest is not musculoskeletal" in item["status_reason"]
    assert hospital.reports(image) == []


def test_a_hip_outside_the_bundle_is_decided_as_not_assessed_and_its_score_is_kept(hospital):
    image = radiograph(body_part="HIP")
    (item,) = hospital.settled(image)
    assert (item["status"], item["finding"], item["probability"]) == ("delivered", "not_assessed", None)
    assert (item["anatomy"], item["priority"], item["rule"]) == ("XR_HIP", "routine", "anatomy_not_in_bundle")
    assert "does not cover" in item["status_reason"]
    (instance,) = hospital.agent.study(image.StudyInstanceUID)["instances"]
    assert instance["assessment"]["outcome"] == "scored"


def test_a_picture_scores_the_same_whether_it_is_stored_with_black_or_with_white_as_zero(hospital):
    pixels = picture(seed=10)
    white = radiograph(pixels)
    black = radiograph(inverted(pixels), PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    one, other = hospital.settled(white, black)
    assert one["status"] == other["status"] == "delivered"
    assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


def test_a_report_is_no_radiograph_and_its_study_is_out_of_scope(hospital):
    image = radiograph(seed=11)
    hospital.settled(image)
    (report,) = hospital.reports(image)
    report.StudyInstanceUID, report.SOPInstanceUID = generate_uid(), generate_uid()
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    (item,) = hospital.settled(report)
    assert (item["status"], item["modality"]) == ("out_of_scope", "SR")
    assert "report" in item["status_reason"]


def test_a_data_set_without_a_study_is_refused_and_its_bytes_are_kept(hospital):
    kept = hospital.agent.data_dir / "spool" / "quarantine"
    before = set(kept.rglob("*.bin"))
    assert hospital.send(radiograph(StudyInstanceUID=None)) == [0xA900]
    assert set(kept.rglob("*.bin")) > before


def test_an_urgent_order_stands_above_the_routine_ones_whatever_the_model_says(hospital):
    routine, high = radiograph(seed=12), radiograph(seed=13, RequestedProcedurePriority="STAT")
    hospital.settled(routine, high)
    order = [item["study_instance_uid"] for item in hospital.agent.worklist()]
    assert order.index(high.StudyInstanceUID) < order.index(routine.StudyInstanceUID)
    ranks = [["stat", "urgent", "routine"].index(item["priority"]) for item in hospital.agent.worklist()]
    assert ranks == sorted(ranks)


def test_metrics_count_what_was_done(hospital):
    hospital.settled(radiograph(seed=14))
    status, text = hospital.agent.get("metrics")
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['triage_worklist_status{status="delivered"}']) >= 1
    assert float(values['triage_deliveries_total{destination="pacs",outcome="sent"}']) >= 1
    assert float(values['triage_assessed_images_total{outcome="scored"}']) >= 1
