"""Images of studies that are still receiving: scored as they come, raised when they alert."""

import pytest
from support.story import LEASE, MODEL

from triage_agent.domain.errors import ImagesFailedError, ModelUnavailableError, WorklistUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import AuditAction, Outcome, Priority, Status
from triage_agent.results.registry import REGISTRY
from triage_agent.worklist import MAX_ATTEMPTS


def test_images_are_scored_together_and_each_result_is_kept(ward):
    low, high = ward.receive(columns=64), ward.receive(columns=66)
    assert ward.score_images() == 2
    assert ward.scorer.batches == [[64, 66]]
    kept = ward.assessments()
    assert (kept[low].probability, kept[high].probability) == (0.1, 0.4)
    assert {one.bundle_digest for one in kept.values()} == {MODEL.digest}
    assert {one.anatomy for one in kept.values()} == {"XR_KNEE"}
    assert ward.item().status is Status.RECEIVING
    assert ward.told.assessed == [(Outcome.SCORED, True)] * 2


def test_an_image_that_crashes_the_model_costs_the_others_of_its_batch_nothing(ward):
    good, bad, other = ward.receive(columns=64), ward.receive(columns=99), ward.receive(columns=66)
    ward.score_images()
    assert ward.scorer.batches == [[64, 99, 66], [64], [99], [66]]
    kept = ward.assessments()
    assert (kept[good].probability, kept[other].probability) == (0.1, 0.4)
    assert kept[bad].outcome is Outcome.FAILED
    assert kept[bad].reason == "the model failed on this image (RuntimeError)"
    assert ward.scorer.checks == 1
    ward.pipeline.check_model()


def test_a_model_that_says_which_images_it_failed_on_is_not_asked_about_any_again(ward, monkeypatch):
    good, bad, other = ward.receive(columns=64), ward.receive(columns=99), ward.receive(columns=66)
    score = ward.scorer.score

    def told_apart(images, anatomies=()):
        try:
            return score(images, anatomies)
        except RuntimeError:
            results = [ImageScore(probability=0.1), "replica died", ImageScore(probability=0.4)]
            raise ImagesFailedError("the model failed", results) from None

    monkeypatch.setattr(ward.scorer, "score", told_apart)
    ward.score_images()
    assert ward.scorer.batches == [[64, 99, 66]]
    kept = ward.assessments()
    assert (kept[good].probability, kept[other].probability) == (0.1, 0.4)
    assert (kept[bad].outcome, kept[bad].reason) == (Outcome.FAILED, "the model failed on this image (replica died)")
    assert ward.scorer.checks == 1


def test_an_image_that_cannot_be_decoded_is_kept_as_failed_and_the_model_is_not_asked(ward):
    broken = ward.receive(broken=True)
    ward.score_images()
    assert ward.assessments()[broken].outcome is Outcome.FAILED
    assert ward.assessments()[broken].reason
    assert ward.scorer.batches == []


def test_a_file_that_has_gone_is_a_failed_image_and_no_crash(ward):
    image = ward.receive()
    next(ward.spool.iterdir()).unlink()
    ward.score_images()
    assert ward.assessments()[image].outcome is Outcome.FAILED


def test_whatever_decoding_raises_the_image_has_a_reason(ward, monkeypatch):
    def crash(_path, **_rule):
        raise ZeroDivisionError("Doe^Jane")

    monkeypatch.setattr(ward.loader, "load", crash)
    image = ward.receive()
    ward.score_images()
    assert ward.assessments()[image].reason == "the image could not be read (ZeroDivisionError)"


def test_an_alerting_image_raises_the_study_at_once_and_tells_who_takes_flags(ward):
    ward.receive(columns=65)
    ward.score_images()
    item = ward.item()
    assert (item.status, item.priority, item.rule) == (Status.RECEIVING, Priority.URGENT, "alert")
    assert ward.outbox() == [("hl7-oru", "ris")]  # the report waits for completeness, the flag does not
    assert ward.told.flagged == 1


def test_an_image_whose_flag_could_not_be_written_is_scored_and_flagged_again(ward, monkeypatch):
    """As after a kill, or with the database away: nothing may be kept of the image without its flag."""

    def away(*_):
        raise WorklistUnavailableError("away")

    image = ward.receive(columns=65)
    with monkeypatch.context() as patched:
        patched.setattr(ward.worklist, "raise_flag", away)
        with pytest.raises(WorklistUnavailableError):
            ward.score_images()
    assert ward.assessments()[image] is None
    ward.worklist.give_back("w1", ward.clock())
    ward.score_images()
    assert (ward.item().priority, ward.outbox()) == (Priority.URGENT, [("hl7-oru", "ris")])


def test_a_second_alerting_image_does_not_raise_again(ward):
    ward.receive(columns=65)
    ward.receive(columns=65)
    ward.score_images()
    assert ward.told.flagged == 1
    assert len(ward.outbox()) == 1
    actions = [event.action for event in ward.worklist.study("1.2.1").audit]
    assert actions.count(AuditAction.PRIORITY_RAISED) == 1


def test_an_image_below_the_alert_raises_nothing(ward):
    ward.receive(columns=66)
    ward.score_images()
    assert ward.item().priority is Priority.ROUTINE
    assert ward.outbox() == []


def test_a_flag_that_no_builder_can_spell_out_is_raised_all_the_same(ward, monkeypatch):
    def crash(_context):
        raise ValueError("Doe^Jane")

    broken = {kind: type(entry)(kind=kind, occasions=entry.occasions, build=crash) for kind, entry in REGISTRY.items()}
    monkeypatch.setattr("triage_agent.results.building.REGISTRY", broken)
    ward.receive(columns=65)
    ward.score_images()
    assert ward.item().priority is Priority.URGENT
    assert ward.outbox() == []


def test_an_image_that_was_assessed_by_another_meanwhile_raises_nothing_twice(ward):
    ward.receive(columns=65)
    claimed = ward.worklist.claim_images("w1", ward.clock(), ward.now - ward.now, 10)
    ward.pipeline.score_images(claimed)
    ward.pipeline.score_images(claimed)
    assert ward.told.flagged == 1


@pytest.mark.parametrize("routes", [[], None])
def test_a_site_without_a_route_for_flags_is_raised_on_its_own_list(ward, routes):
    ward.routes = routes if routes is not None else ward.routes[:1]
    ward.receive(columns=65)
    ward.score_images()
    assert ward.item().priority is Priority.URGENT
    assert ward.outbox() == []


# --- a model that is broken -------------------------------------------------------------------------------------------
def test_a_model_that_scores_nothing_costs_no_image_its_score_and_says_so_until_it_is_back(ward):
    image = ward.receive(columns=99)
    ward.scorer.broken = True
    pipeline = ward.pipeline
    pipeline.check_model()
    claimed = ward.worklist.claim_images("w1", ward.clock(), LEASE, 10)
    with pytest.raises(ModelUnavailableError, match="no probabilities"):
        pipeline.score_images(claimed)
    assert ward.assessments()[image] is None
    for again in (pipeline.check_model, pipeline.try_model_again, pipeline.check_model):
        with pytest.raises(ModelUnavailableError):
            again()
    ward.scorer.broken = False
    pipeline.try_model_again()
    pipeline.check_model()


def test_a_device_without_memory_costs_no_image_its_score_although_the_built_in_one_fits_it(ward, monkeypatch):
    asked, full = [], ModelUnavailableError("the device has not enough free memory")

    def score(images, anatomies=()):
        asked.append(len(images))
        raise full

    monkeypatch.setattr(ward.scorer, "score", score)
    image = ward.receive(columns=64)
    with pytest.raises(ModelUnavailableError) as told:
        ward.score_images()
    assert (told.value, asked, ward.assessments()[image]) == (full, [1], None)


def test_a_model_that_works_is_not_asked_again(ward):
    ward.receive(columns=64)
    pipeline = ward.pipeline
    pipeline.try_model_again()
    pipeline.score_images(ward.worklist.claim_images("w1", ward.clock(), LEASE, 10))
    assert ward.scorer.checks == 0


def test_whatever_a_broken_model_raises_is_told_without_its_words(ward):
    ward.scorer.score = lambda images, anatomies=(): {}["Doe^Jane"]
    ward.receive(columns=64)
    with pytest.raises(ModelUnavailableError) as told:
        ward.score_images()
    assert told.value.message == "the model scores nothing (KeyError)"


def test_a_study_that_a_broken_model_could_not_score_is_ready_again_and_no_attempt_is_counted(ward):
    ward.receive(columns=64)
    good, ward.scorer.score = ward.scorer.score, lambda images, anatomies=(): []
    for _ in range(MAX_ATTEMPTS + 1):
        claimed = ward.claimed() if ward.item().status is Status.RECEIVING else claim_again(ward)
        with pytest.raises(ModelUnavailableError):
            ward.pipeline.decide_study(claimed, "w1")
        ward.worklist.give_back("w1", ward.clock(), counted=False)
    ward.scorer.score = good
    assert ward.item().status is Status.READY
    assert ward.pipeline.decide_study(claim_again(ward), "w1")
    assert ward.item().status is Status.DECIDED


def claim_again(ward):
    return ward.worklist.claim_study("w1", ward.clock(), LEASE)
