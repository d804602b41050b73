"""What the pipeline does with what the model sees besides an abnormality: the region, and images of no known kind."""

import pytest

from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import Outcome, Priority, Status

STRANGE = ImageScore(probability=0.97, seen_anatomy=None, strangeness=1.7)


def test_an_image_unlike_the_training_images_raises_if_it_must_and_a_human_reads_the_study(ward):
    ward.scorer.probabilities[70] = STRANGE
    image = ward.receive(columns=70)
    ward.score_images()
    assert ward.item().priority is Priority.URGENT
    assert ward.told.flagged == 1
    ward.decide()
    assessment = ward.assessments()[image]
    assert (assessment.outcome, assessment.probability) == (Outcome.FAILED, 0.97)
    assert (ward.item().finding, ward.item().probability) == ("not_assessed", None)
    assert assessment.reason == "the image is unlike those that the model learnt from (1.7 times the limit)"
    assert ward.item().status is Status.NEEDS_HUMAN
    assert "unlike" in ward.item().status_reason


@pytest.mark.parametrize("strangeness", [0.0, 0.6, 1.0])
def test_an_ordinary_image_is_scored(ward, strangeness):
    ward.scorer.probabilities[70] = ImageScore(probability=0.2, strangeness=strangeness)
    ward.receive(columns=70)
    ward.decide()
    assert ward.item().status is Status.DECIDED


def test_an_image_of_a_region_that_the_bundle_does_not_know_need_not_look_like_its_training_images(ward):
    ward.scorer.probabilities[70] = STRANGE
    ward.receive(columns=70, BodyPartExamined="HIP")
    ward.decide()
    assert ward.item().status is Status.DECIDED
    assert ward.item().rule == "anatomy_not_in_bundle"


@pytest.mark.parametrize("stated", ["", "EXTREMITY"])
def test_the_model_supplies_a_region_that_the_header_does_not_state(ward, stated):
    ward.scorer.probabilities[70] = ImageScore(probability=0.2, seen_anatomy="XR_KNEE")
    image = ward.receive(columns=70, BodyPartExamined=stated)
    ward.decide()
    assessment = ward.assessments()[image]
    assert (assessment.anatomy, assessment.anatomy_from_image) == ("XR_KNEE", True)
    assert ward.item().anatomy == "XR_KNEE"


def test_the_header_decides_and_what_the_image_looks_like_is_kept(ward):
    ward.scorer.probabilities[70] = ImageScore(probability=0.2, seen_anatomy="XR_HAND")
    image = ward.receive(columns=70)
    ward.decide()
    assessment = ward.assessments()[image]
    assert (assessment.anatomy, assessment.seen_anatomy, assessment.anatomy_from_image) == ("XR_KNEE", "XR_HAND", False)
    assert "1 image looks like XR_HAND, the header says XR_KNEE." in ward.worklist.study("1.2.1").reasons
