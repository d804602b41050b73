"""The shadow bundle scores what was decided, and whatever it does changes nothing of that."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from support.story import MODEL

from triage_agent.domain.errors import DecoderUnavailableError, WorklistUnavailableError
from triage_agent.domain.study import ImageScore
from triage_agent.domain.vocabulary import Finding, Priority, Status
from triage_agent.shadow import Shadow

OTHER = replace(MODEL, name="other", digest="s" * 64)


class Second:
    """A shadow that gives an image the probability of its width."""

    identity = OTHER

    def __init__(self):
        self.probabilities = {64: 0.2, 65: 0.6, 66: 0.7}
        self.strangeness = {}
        self.batches = []

    def score(self, images, anatomies=()):
        widths = [image.shape[1] for image in images]
        self.batches.append((widths, list(anatomies)))
        return [
            ImageScore(probability=self.probabilities[width], strangeness=self.strangeness.get(width, 0.0))
            for width in widths
        ]


class Shadowed:
    """A ward whose decisions are compared."""

    def __init__(self, ward):
        self.ward = ward
        self.second = Second()
        self.told = []
        self.shadow = Shadow(
            worklist=ward.worklist,
            spool=ward.spool,
            loader=ward.loader,
            scorer=self.second,
            clock=ward.clock,
            compared=self.told.append,
            batch=2,
        )
        ward.later = (self.shadow.offer,)

    def detail(self):
        return self.ward.worklist.study("1.2.1")


@pytest.fixture
def shadowed(ward):
    return Shadowed(ward)


def decided(shadowed, *columns):
    for width in columns:
        shadowed.ward.receive(columns=width)
    assert shadowed.ward.decide()


def test_a_decided_study_is_compared_whole_batch_by_batch(shadowed):
    decided(shadowed, 64, 66, 66)
    assert shadowed.second.batches == []  # nothing waits for it
    assert shadowed.shadow.step()
    assert shadowed.second.batches == [([64, 66], ["XR_KNEE"] * 2), ([66], ["XR_KNEE"])]
    result = shadowed.detail().shadow
    assert (result.bundle, result.probability) == (OTHER.label, pytest.approx(1.6 / 3))
    assert (result.finding, result.agrees) == (Finding.ABNORMAL, False)
    assert [one.assessment.shadow_probability for one in shadowed.detail().instances] == [0.2, 0.7, 0.7]
    assert shadowed.told == [False]
    assert not shadowed.shadow.step()


def test_a_flag_and_a_decision_are_committed_before_the_shadow_looks(shadowed):
    seen = []
    score = shadowed.second.score
    shadowed.second.score = lambda images, anatomies=(): (seen.append(shadowed.ward.item()), score(images))[1]
    shadowed.ward.receive(columns=65)
    shadowed.ward.score_images()
    assert not shadowed.shadow.step()
    assert shadowed.ward.item().priority is Priority.URGENT
    shadowed.ward.decide()
    shadowed.shadow.step()
    assert [(item.priority, item.status) for item in seen] == [(Priority.URGENT, Status.DECIDED)]


@pytest.mark.parametrize("columns", [(64,), (65,), (64, 66), (64, 99), (65, 99), (66, 66, 66, 66)])
def test_a_study_ends_as_it_would_without_a_shadow(ward, shadowed, columns, tmp_path_factory):
    alone = type(ward)(tmp_path_factory.mktemp("alone"))
    for one in (alone, ward):
        for width in columns:
            one.receive(columns=width)
        one.score_images()
        one.decide()
    shadowed.second.probabilities = dict.fromkeys((64, 65, 66), 0.999)
    before = shadowed.detail()
    while shadowed.shadow.step():
        pass
    fields = ("status", "status_reason", "priority", "finding", "probability", "rule", "flagged_at", "decided_at")
    assert {name: getattr(ward.item(), name) for name in fields} == {
        name: getattr(alone.item(), name) for name in fields
    }
    assert (ward.outbox(), shadowed.detail().item) == (alone.outbox(), before.item)


@pytest.mark.parametrize("crash", [RuntimeError("Doe^Jane"), KeyError("Doe^Jane"), MemoryError("Doe^Jane")])
def test_whatever_the_shadow_raises_costs_its_own_opinion_only(shadowed, monkeypatch, crash):
    decided(shadowed, 64)
    before = shadowed.detail()

    def fail(_images, _anatomies=()):
        raise crash

    monkeypatch.setattr(shadowed.second, "score", fail)
    with capture_logs() as lines:
        assert shadowed.shadow.step()
    assert shadowed.told == [None]
    assert shadowed.detail() == before
    assert [(line["event"], line["error"]) for line in lines] == [("shadow_failed", type(crash).__name__)]
    assert "Doe" not in str(lines)


@pytest.mark.parametrize("scores", [[], [ImageScore(probability=float("nan"))]])
def test_a_shadow_that_answers_nonsense_has_failed(shadowed, monkeypatch, scores):
    decided(shadowed, 64)
    monkeypatch.setattr(shadowed.second, "score", lambda _images, _anatomies=(): scores)
    shadowed.shadow.step()
    assert (shadowed.told, shadowed.detail().shadow) == ([None], None)


def test_a_file_that_has_gone_is_a_failure_and_the_next_study_is_compared(shadowed):
    decided(shadowed, 64)
    next(shadowed.ward.spool.iterdir()).unlink()
    shadowed.ward.receive(columns=66, study="1.2.2")
    shadowed.ward.decide()
    while shadowed.shadow.step():
        pass
    assert shadowed.told == [None, False]
    assert shadowed.ward.worklist.study("1.2.2").shadow is not None


def test_an_image_that_is_unlike_the_shadow_s_training_images_has_no_probability_of_it(shadowed):
    shadowed.second.strangeness = {66: 1.5}
    decided(shadowed, 64, 66)
    shadowed.shadow.step()
    assert shadowed.detail().shadow.probability == 0.2
    kept = [one.assessment for one in shadowed.detail().instances]
    assert [(one.shadow_probability, one.shadow_digest) for one in kept] == [(0.2, OTHER.digest), (None, OTHER.digest)]


def test_a_region_that_the_shadow_was_not_validated_on_is_neither_compared_nor_a_failure(shadowed):
    shadowed.second.identity = replace(OTHER, anatomies=("XR_HAND",))
    decided(shadowed, 64)
    assert not shadowed.shadow.step()
    assert (shadowed.told, shadowed.second.batches) == ([], [])


def test_a_new_shadow_bundle_scores_a_later_revision_afresh(shadowed):
    decided(shadowed, 64)
    shadowed.shadow.step()
    shadowed.second.identity = replace(OTHER, digest="t" * 64)
    shadowed.second.probabilities = {64: 0.4, 66: 0.4}
    decided(shadowed, 66)
    shadowed.shadow.step()
    assert shadowed.detail().shadow.probability == pytest.approx(0.4)
    assert {one.assessment.shadow_digest for one in shadowed.detail().instances} == {"t" * 64}


def test_a_database_that_is_away_leaves_the_study_the_next_one(shadowed, monkeypatch):
    decided(shadowed, 64)

    def away(*_):
        raise WorklistUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(shadowed.ward.worklist, "record_shadow", away)
        with pytest.raises(WorklistUnavailableError):
            shadowed.shadow.step()
    assert shadowed.told == []
    assert shadowed.shadow.step()
    assert shadowed.told == [True]


def test_a_shadow_that_cannot_keep_up_leaves_studies_out_and_counts_them(shadowed, monkeypatch):
    monkeypatch.setattr(shadowed.shadow._waiting, "_longest", 1)
    decided(shadowed, 64)
    shadowed.ward.receive(columns=66, study="1.2.2")
    with capture_logs() as lines:
        shadowed.ward.decide()
    assert "shadow_left_out" in {line["event"] for line in lines}
    assert shadowed.told == [None]
    assert shadowed.shadow.step()
    assert not shadowed.shadow.step()


def test_what_is_in_hand_when_the_agent_ends_is_not_finished(shadowed):
    decided(shadowed, 64)
    shadowed.shadow.stop()
    assert not shadowed.shadow.step()
    assert (shadowed.second.batches, shadowed.told) == ([], [])


def test_a_study_waits_for_a_spool_that_is_away_and_is_compared_when_it_is_back(ward, tmp_path):
    ward.spool = tmp_path / "share" / "spool"
    ward.spool.mkdir(parents=True)
    shadowed = Shadowed(ward)
    decided(shadowed, 64)
    away = ward.spool.rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(DecoderUnavailableError, match="is its disk or share mounted"):
            shadowed.shadow.step()
    assert shadowed.told == []
    away.rename(ward.spool)
    assert shadowed.shadow.step()
    assert shadowed.told == [True]


def test_one_file_that_is_gone_costs_its_study_the_comparison(shadowed):
    decided(shadowed, 64)
    for file in shadowed.ward.spool.iterdir():
        file.unlink()
    with capture_logs():
        assert shadowed.shadow.step()
    assert shadowed.told == [None]
