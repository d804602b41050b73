"""A flag, and a decision, name who the patient is by now, whenever the merge came."""

from datetime import timedelta

import pytest
from support.ordering import message
from support.story import STUDY

from triage_agent.domain.decision import Route
from triage_agent.domain.orders import PatientUpdate
from triage_agent.domain.vocabulary import ArtifactKind, Priority

LEASE = timedelta(seconds=30)


@pytest.fixture
def told(ward):
    """A RIS that takes flags and results, and what it gets."""
    ward.routes = [Route(to="ris", send=(ArtifactKind.HL7_ORU,))]

    def patients():
        """The patient of each message that waits, by the PID-3.1 and PID-5 of its text."""
        claimed = ward.worklist.claim_deliveries("s", ward.clock(), LEASE, 10)
        lines = [line.split("|") for one in claimed for line in one.artifact.body.decode().split("\r")]
        return [(line[3].split("^")[0], line[5].partition("^^")[0]) for line in lines if line[0] == "PID"]

    return patients


def merge(ward):
    into = PatientUpdate(patient_id="P7", patient_name="Roe^Jane")
    ward.worklist.merge_patient(["P1"], into, message("M1", ward.clock()))


def image(ward):
    ward.receive(columns=65, PatientID="P1", PatientName="Doe^Jane")


def test_a_flag_after_a_merge_names_who_the_patient_is_now(ward, told):
    image(ward)
    merge(ward)
    ward.score_images()
    assert ward.item().priority is Priority.URGENT
    assert told() == [("P7", "Roe^Jane")]


def test_a_flag_of_an_image_that_came_after_the_merge_does_so_too(ward, told):
    merge(ward)
    image(ward)
    ward.score_images()
    assert told() == [("P7", "Roe^Jane")]


def test_a_flag_of_an_image_that_was_being_scored_during_the_merge_does_so_too(ward, told):
    image(ward)
    claimed = ward.worklist.claim_images("w1", ward.clock(), LEASE, 10)
    merge(ward)
    ward.pipeline.score_images(claimed)
    assert told() == [("P7", "Roe^Jane")]


def test_what_is_kept_of_a_decision_that_a_merge_interrupted_names_who_the_patient_is_now(ward, told):
    image(ward)
    claimed = ward.claimed()
    merge(ward)
    assert not ward.pipeline.decide_study(claimed, "w1")
    assert ward.item().priority is Priority.URGENT
    assert told() == [("P7", "Roe^Jane")]


def test_a_flag_before_the_merge_named_who_the_patient_was(ward, told):
    image(ward)
    ward.score_images()
    merge(ward)
    assert told() == [("P1", "Doe^Jane")]


def test_the_raise_of_a_study_that_needs_a_human_names_who_the_patient_is_now(ward, told):
    image(ward)
    ward.receive(broken=True, PatientID="P1", PatientName="Doe^Jane")
    merge(ward)
    ward.decide()
    assert ward.item().status.value == "needs_human"
    assert told() == [("P7", "Roe^Jane")]
    assert ward.worklist.merged_of(STUDY) is not None
