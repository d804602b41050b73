"""Complete studies: what is left is scored, a decision made, its results put into the outbox."""

from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs
from support.story import LEASE, MODEL, RULE

from triage_agent.domain.errors import TriageError
from triage_agent.domain.vocabulary import Finding, Outcome, Priority, Status
from triage_agent.imaging.loader import load_instance
from triage_agent.results.registry import REGISTRY
from triage_agent.worklist import MAX_ATTEMPTS


def failing(kind, message="Doe^Jane"):
    """The registry with one builder that raises."""

    def crash(_context):
        raise KeyError(message)

    return {**REGISTRY, kind: replace(REGISTRY[kind], build=crash)}


def test_what_was_scored_on_arrival_is_not_scored_again(ward):
    ward.receive(columns=64)
    ward.score_images()
    ward.receive(columns=66)
    assert ward.decide()
    assert ward.scorer.batches == [[64], [66]]
    item = ward.item()
    assert (item.status, item.finding, item.probability) == (Status.DECIDED, Finding.NORMAL, pytest.approx(0.25))
    assert ward.told.decided == [Finding.NORMAL]


@pytest.mark.parametrize(
    ("wanted", "modality", "scored"), [(True, "CR", True), (True, "OT", False), (False, "CR", False)]
)
def test_a_secondary_capture_is_scored_where_the_site_says_so_and_it_is_a_radiograph(ward, wanted, modality, scored):
    ward.secondary_captures = wanted
    ward.receive(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality=modality)
    ward.decide()
    assert (ward.scorer.batches == [[64]]) is scored
    assert ward.item().status is (Status.DECIDED if scored else Status.OUT_OF_SCOPE)


def test_of_a_large_study_a_batch_and_the_next_image_are_in_memory(ward, monkeypatch):
    loaded, held, score = [], [], ward.scorer.score
    monkeypatch.setattr(
        "triage_agent.pipeline.load_instance",
        lambda loader, path, **rule: (loaded.append(path), load_instance(loader, path, **rule))[1],
    )

    def scored(images, anatomies=()):
        held.append(len(loaded) - sum(map(len, ward.scorer.batches)))
        return score(images)

    ward.scorer.score = scored
    for _ in range(17):
        ward.receive(columns=64)
    ward.decide()
    assert ward.scorer.batches == [[64] * 3] * 5 + [[64] * 2]
    assert max(held) <= 3 + 3 + 1  # what is scored, and read meanwhile: the next batch and what one hand holds
    assert ward.item().status is Status.DECIDED


def test_a_score_of_another_bundle_is_made_again(ward):
    ward.receive(columns=64)
    ward.score_images()
    ward.scorer.identity = replace(MODEL, digest="e" * 64)
    ward.decide()
    assert ward.scorer.batches == [[64], [64]]
    assert {one.bundle_digest for one in ward.assessments().values()} == {"e" * 64}


def test_a_failure_on_arrival_is_not_tried_again_by_the_decision(ward):
    ward.receive(columns=99)
    ward.score_images()
    ward.decide()
    assert ward.scorer.batches == [[99]]
    assert ward.item().status is Status.NEEDS_HUMAN


def test_each_route_gets_what_it_asks_for(ward):
    ward.receive(columns=66)
    ward.decide()
    assert sorted(ward.outbox()) == [("hl7-oru", "ris"), ("sr", "pacs")]


def test_two_destinations_of_one_kind_get_the_same_object(ward):
    ward.routes = [ward.routes[0], replace(ward.routes[0], to="archive")]
    ward.receive()
    ward.decide()
    first, second = ward.worklist.study("1.2.1").deliveries
    assert (first.uid, first.summary) == (second.uid, second.summary)
    assert {first.destination, second.destination} == {"pacs", "archive"}


def test_a_raise_on_arrival_stands_whatever_is_decided(ward):
    ward.receive(columns=65)
    ward.score_images()
    for _ in range(9):
        ward.receive(columns=64)
    ward.decide()
    item = ward.item()
    assert (item.finding, item.priority) == (Finding.UNCERTAIN, Priority.URGENT)


def test_a_study_of_which_one_image_crashed_the_model_needs_a_human(ward):
    ward.receive(columns=64)
    ward.receive(columns=99)
    ward.decide()
    item = ward.item()
    assert (item.status, item.finding) == (Status.NEEDS_HUMAN, Finding.NOT_ASSESSED)
    assert "the model failed on this image (RuntimeError)" in item.status_reason
    assert ward.outbox() == []


@pytest.mark.parametrize("on_arrival", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_a_raised_study_that_needs_a_human_is_told_whenever_its_images_were_scored(ward, on_arrival, reverse):
    images = [lambda: ward.receive(columns=65), lambda: ward.receive(broken=True)]
    for receive in reversed(images) if reverse else images:
        receive()
    if on_arrival:
        ward.score_images()
    ward.decide()
    item = ward.item()
    assert (item.status, item.finding, item.priority) == (Status.NEEDS_HUMAN, Finding.ABNORMAL, Priority.URGENT)
    assert ward.outbox() == [("hl7-oru", "ris")]


def test_a_raise_that_was_told_on_arrival_is_not_told_again_by_a_failure(ward):
    ward.receive(columns=65)
    ward.score_images()
    ward.receive(broken=True)
    ward.decide()
    assert ward.item().status is Status.NEEDS_HUMAN
    assert len(ward.outbox()) == 1


def test_a_failure_that_raises_nothing_tells_nobody(ward):
    ward.receive(columns=66)
    ward.receive(broken=True)
    ward.decide()
    assert (ward.item().status, ward.item().priority) == (Status.NEEDS_HUMAN, Priority.ROUTINE)
    assert ward.outbox() == []


@pytest.mark.parametrize("broken", [False, True])
def test_a_study_whose_images_name_different_patients_needs_a_human_and_nothing_is_sent(ward, broken):
    ward.receive(columns=65, PatientID="P1")
    ward.receive(columns=65, PatientID="SECRET", PatientName="SECRET^NAME", broken=broken)
    with capture_logs() as lines:
        ward.decide()
    item = ward.item()
    assert (item.status, item.status_reason) == (Status.NEEDS_HUMAN, "The images name different patients.")
    assert (item.finding, item.probability, item.priority) == (Finding.NOT_ASSESSED, None, Priority.URGENT)
    assert ward.outbox() == []
    assert "SECRET" not in repr((lines, ward.worklist.study("1.2.1").reasons))


def test_an_image_without_a_patient_id_hinders_nothing_where_the_name_is_the_same(ward):
    ward.receive(columns=64, PatientID="", PatientName="ROE^RICK")
    ward.receive(columns=64, PatientID="42", PatientName="Roe^Rick")
    ward.decide()
    assert ward.item().status is Status.DECIDED


def test_an_image_of_another_name_without_an_id_is_never_reported_as_this_patients(ward):
    ward.receive(columns=64, PatientID="", PatientName="Doe^Jane")
    ward.receive(columns=64, PatientID="42", PatientName="Roe^Rick")
    ward.decide()
    assert (ward.item().status, ward.outbox()) == (Status.NEEDS_HUMAN, [])


def test_a_result_that_cannot_be_built_leaves_the_study_to_a_human_at_its_priority(ward, monkeypatch):
    monkeypatch.setattr("triage_agent.results.building.REGISTRY", failing("sr"))
    ward.receive(columns=65)
    with capture_logs() as lines:
        assert ward.decide()
    item = ward.item()
    assert item.status is Status.NEEDS_HUMAN
    assert item.status_reason == "the sr could not be built (KeyError)"
    assert item.priority is Priority.URGENT  # what the scores ask for stands
    assert ward.outbox() == [("hl7-oru", "ris")]  # no report, but the raise is told
    assert ward.told.unbuilt == ["sr"]
    assert "Doe" not in str(lines)


def test_a_kind_that_cannot_be_built_keeps_no_other_from_leaving(ward, monkeypatch):
    monkeypatch.setattr("triage_agent.results.building.REGISTRY", failing("sr"))
    ward.receive(columns=65)
    ward.decide()
    assert ward.outbox() == [("hl7-oru", "ris")]


def test_what_the_agent_itself_says_of_a_result_is_among_the_reasons(ward, monkeypatch):
    def refuse(_context):
        raise TriageError("nothing can be referred to", remedy="look at it")

    monkeypatch.setattr(
        "triage_agent.results.building.REGISTRY", {**REGISTRY, "sr": replace(REGISTRY["sr"], build=refuse)}
    )
    ward.receive()
    ward.decide()
    assert ward.item().status_reason == "the sr could not be built: nothing can be referred to"
    assert ward.worklist.study("1.2.1").reasons[-1] == ward.item().status_reason


def test_headers_that_have_gone_missing_leave_the_study_to_a_human(ward, monkeypatch):
    def crash(_path):
        raise OSError("Doe^Jane.dcm")

    monkeypatch.setattr(ward.loader, "header", crash)
    ward.receive()
    ward.decide()
    item = ward.item()
    assert item.status is Status.NEEDS_HUMAN
    assert item.status_reason == "the result could not be built: the header of an instance cannot be read"
    assert ward.outbox() == []
    assert set(ward.told.unbuilt) >= {"sr"}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # of the test's own writing
@pytest.mark.parametrize("series", ["no uid", "", None])
def test_a_study_whose_images_name_no_series_is_reported(ward, series):
    ward.receive(columns=66, SeriesInstanceUID=series)
    ward.decide()
    assert (ward.item().status, ward.item().status_reason) == (Status.DECIDED, None)
    assert sorted(ward.outbox()) == [("hl7-oru", "ris"), ("sr", "pacs")]


def test_an_image_that_comes_while_a_study_is_decided_drops_the_decision(ward):
    ward.receive(columns=64)
    claimed = ward.claimed()
    ward.receive(columns=65)
    with capture_logs() as lines:
        assert not ward.pipeline.decide_study(claimed, "w1")
    item = ward.item()
    assert (item.status, item.finding, item.decided_at) == (Status.RECEIVING, None, None)
    assert ward.outbox() == []
    assert ward.told.decided == []
    assert "decision_dropped_study_moved_on" in {line["event"] for line in lines}
    ward.decide()
    assert ward.item().probability == pytest.approx((0.1 + 0.95) / 2)


def test_images_that_keep_coming_cost_no_score_and_no_attempt(ward):
    """Each interrupts the decision; what was scored for it stays true, and nothing crashed."""
    ward.receive(columns=64)
    for _ in range(MAX_ATTEMPTS + 1):
        claimed = ward.claimed()
        ward.receive(columns=66)
        assert not ward.pipeline.decide_study(claimed, "w1")
    assert ward.decide()
    assert ward.scorer.batches == [[64]] + [[66]] * (MAX_ATTEMPTS + 1)
    assert ward.item().status is Status.DECIDED


def test_a_decision_that_is_dropped_raises_all_the_same_where_an_image_alerts(ward):
    ward.receive(columns=65)
    claimed = ward.claimed()
    ward.receive(columns=64)
    assert not ward.pipeline.decide_study(claimed, "w1")
    assert (ward.item().status, ward.item().priority) == (Status.RECEIVING, Priority.URGENT)
    assert ward.outbox() == [("hl7-oru", "ris")]
    assert ward.told.flagged == 1


def test_a_study_that_was_given_up_is_tried_again_when_an_image_interrupts_that(ward):
    image = ward.receive(columns=64)
    for _ in range(MAX_ATTEMPTS):
        ward.claimed("killed")
        ward.now += 2 * LEASE
        ward.worklist.expire_leases(ward.now)
    claimed = ward.claimed()
    ward.receive(columns=66)
    assert not ward.pipeline.decide_study(claimed, "w1")
    assert ward.assessments()[image] is None
    ward.decide()
    assert ward.item().status is Status.DECIDED


def test_whoever_lost_its_lease_decides_nothing(ward):
    ward.receive(columns=64)
    slow = ward.claimed("slow")
    ward.now += 2 * LEASE
    ward.worklist.expire_leases(ward.now)
    quick = ward.worklist.claim_study("quick", ward.clock(), LEASE)
    assert not ward.pipeline.decide_study(slow, "slow")
    assert ward.item().status is Status.SCORING
    assert ward.pipeline.decide_study(quick, "quick")


def test_what_is_no_radiograph_is_out_of_scope_and_nothing_is_sent(ward):
    ward.receive(Modality="MG")
    ward.decide()
    item = ward.item()
    assert (item.status, item.finding) == (Status.OUT_OF_SCOPE, Finding.NOT_ASSESSED)
    assert "mammography" in item.status_reason
    assert ward.scorer.batches == []
    assert ward.outbox() == []
    assert {one.outcome for one in ward.assessments().values()} == {Outcome.SKIPPED}


def test_a_late_image_opens_a_revision_whose_report_has_a_uid_of_its_own(ward):
    ward.receive(columns=64)
    ward.decide()
    ward.receive(columns=66)
    assert ward.item().revision == 2
    ward.decide()
    reports = [row for row in ward.worklist.study("1.2.1").deliveries if row.kind.value == "sr"]
    assert [row.revision for row in reports] == [1, 2]
    assert reports[0].uid != reports[1].uid


def test_the_report_of_a_later_revision_names_the_earlier_one_as_its_predecessor(ward):
    """Else a PACS has two reports that contradict each other side by side."""
    ward.receive(columns=64)
    ward.decide()
    ward.receive(columns=66)
    ward.decide()
    bodies = [
        each.artifact.body
        for _ in range(2)  # the first goes out before the second
        for each in ward.worklist.claim_deliveries("s1", ward.clock(), LEASE, 10, ["pacs"])
        if ward.worklist.delivery_sent(each, ward.clock()) is None
    ]
    first, second = (dcmread(BytesIO(body)) for body in bodies)
    (study,) = second.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [first.SOPInstanceUID]
    assert "PredecessorDocumentsSequence" not in first


def test_a_decision_made_again_after_a_crash_names_the_same_objects(ward):
    ward.receive(columns=64)
    lost = ward.claimed("crashed")
    shipments = ward.pipeline._results_of
    decision = ward.pipeline
    built = []

    def remember(claimed, result, assessments):
        result, made = shipments(claimed, result, assessments)
        built.append([one.artifact.uid for one in made])
        return result, made

    decision._results_of = remember
    ward.worklist.give_back("crashed", ward.clock())  # as after the crash that lost the first decision
    assert not decision.decide_study(lost, "crashed")
    again = ward.worklist.claim_study("w1", ward.clock(), LEASE)
    assert decision.decide_study(again, "w1")
    assert built[0] == built[1]


def test_a_model_that_returns_nonsense_costs_the_image_its_score(ward):
    ward.receive(columns=64)
    ward.scorer.probabilities = {64: float("nan")}
    ward.decide()
    assert ward.item().status is Status.NEEDS_HUMAN


def test_a_model_that_answers_for_fewer_images_than_it_was_asked_costs_them_their_score(ward):
    score = ward.scorer.score
    ward.scorer.score = lambda images, anatomies=(): score(images)[
        : len(images) if images[0].shape == (224, 224) else len(images) - 1
    ]
    ward.receive(columns=64)
    ward.receive(columns=66)
    ward.decide()
    item = ward.item()
    assert item.status is Status.NEEDS_HUMAN
    assert item.status_reason


def test_a_study_that_ends_every_process_that_decides_it_is_left_to_a_human(ward):
    """A decoder that takes the process with it raises nothing: only the number of attempts tells."""
    ward.receive(columns=64)
    ward.claimed("killed")
    for attempt in range(2, 10):
        ward.now += 2 * LEASE
        ward.worklist.expire_leases(ward.now)
        study = ward.worklist.claim_study("killed", ward.clock(), LEASE)
        assert study.attempt == attempt
    ward.pipeline.decide_study(study, "killed")
    assert ward.scorer.batches == []
    assert ward.item().status is Status.NEEDS_HUMAN


def test_the_rule_for_completeness_is_not_the_pipelines_business(ward):
    ward.receive(columns=64)
    ward.now += RULE.quiet
    assert ward.worklist.claim_study("w1", ward.clock(), LEASE) is None
