"""A pipeline over the in-memory worklist and real files, with a scorer that does what it is told to."""

from datetime import timedelta

import numpy as np
import pytest
from support.instances import dx, encode, request_for, write_part10
from support.story import LEASE, MODEL, RULE, T0

from triage_agent.decision.rules import DEFAULT_POLICY
from triage_agent.domain.decision import Route
from triage_agent.domain.study import ImageScore, ReceivedInstance
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.imaging.loader import DirectLoader
from triage_agent.intake.header import read_header
from triage_agent.pipeline import Observer, Pipeline
from triage_agent.worklist import MemoryWorklist

STUDY = "1.2.1"
BATCH = 3
SIDE = 64  # the smallest that the quality gate takes; the columns tell the scorer which image it has


BUILT_IN = 224


class FakeScorer:
    """Gives an image the probability of its width; a width without one crashes it, the pipeline's own does not."""

    identity = MODEL

    def __init__(self, probabilities):
        self.probabilities = probabilities
        self.batches = []
        self.checks = 0
        self.broken = False

    def score(self, images, anatomies=()):
        widths = [image.shape[1] for image in images]
        if widths == [BUILT_IN]:
            self.checks += 1
            return [ImageScore(probability=float("nan") if self.broken else 0.5)]
        self.batches.append(widths)
        if missing := set(widths) - self.probabilities.keys():
            raise RuntimeError(f"Doe^Jane crashed it: {missing}")
        known = [self.probabilities[width] for width in widths]
        return [one if isinstance(one, ImageScore) else ImageScore(probability=one) for one in known]


class Told:
    """What the observer heard."""

    def __init__(self):
        self.assessed = []
        self.flagged = 0
        self.decided = []
        self.unbuilt = []

    def as_observer(self):
        return Observer(
            assessed=lambda assessment, seconds: self.assessed.append((assessment.outcome, seconds >= 0)),
            flagged=self._count,
            decided=lambda _claimed, finding: self.decided.append(finding),
            unbuilt=self.unbuilt.append,
        )

    def _count(self, _image):
        self.flagged += 1


class Ward:
    """A worklist, a spool and a pipeline, in short sentences; its clock goes on by a second with each."""

    def __init__(self, spool):
        self.worklist = MemoryWorklist()
        self.spool = spool
        self.now = T0
        self.told = Told()
        self.secondary_captures = False
        self.loader = DirectLoader()
        self.later = ()
        self.policy = DEFAULT_POLICY
        self.scorer = FakeScorer({64: 0.1, 65: 0.95, 66: 0.4})
        self.routes = [Route(to="pacs", send=(ArtifactKind.SR,)), Route(to="ris", send=(ArtifactKind.HL7_ORU,))]

    def clock(self):
        self.now += timedelta(seconds=1)
        return self.now

    @property
    def pipeline(self):
        return Pipeline(
            worklist=self.worklist,
            spool=self.spool,
            loader=self.loader,
            scorer=self.scorer,
            policy=self.policy,
            routes=self.routes,
            institution="",
            clock=self.clock,
            observer=self.told.as_observer(),
            batch=BATCH,
            secondary_captures=self.secondary_captures,
            later=self.later,
        )

    def receive(self, *, columns=64, study=STUDY, broken=False, **elements):
        """An image of so many columns comes; returns its SOP Instance UID."""
        data_set = dx(**{"StudyInstanceUID": study, "BodyPartExamined": "KNEE"} | elements)
        pixels = np.linspace(0, 4095, SIDE * columns).reshape(SIDE, columns).astype(np.uint16)
        data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
        data_set.Rows, data_set.Columns, data_set.PixelRepresentation = SIDE, columns, 0
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
        data_set.PixelData = pixels.tobytes()[: 10 if broken else None]
        data_set["PixelData"].VR = "OW"
        path = write_part10(self.spool / f"{data_set.SOPInstanceUID}.dcm", data_set)
        self.worklist.register(
            ReceivedInstance(
                header=read_header(encode(data_set), **request_for(data_set)),
                path=path.name,
                sha256=data_set.SOPInstanceUID,
                size=path.stat().st_size,
                source="PACS",
                received_at=self.clock(),
            ),
            RULE,
        )
        return data_set.SOPInstanceUID

    def score_images(self, owner="w1"):
        """Claim and score what is there; returns how many."""
        claimed = self.worklist.claim_images(owner, self.clock(), LEASE, 10)
        self.pipeline.score_images(claimed)
        return len(claimed)

    def claimed(self, owner="w1"):
        """Everything that is receiving is complete; claim the first of it."""
        self.now += RULE.quiet
        for view in self.worklist.due_for_completion(self.now):
            assert self.worklist.complete(view, "quiet", self.clock())
        return self.worklist.claim_study(owner, self.clock(), LEASE)

    def decide(self, owner="w1"):
        return self.pipeline.decide_study(self.claimed(owner), owner)

    def item(self, study=STUDY):
        return self.worklist.study(study).item

    def assessments(self, study=STUDY):
        return {one.sop_instance_uid: one.assessment for one in self.worklist.study(study).instances}

    def outbox(self, study=STUDY):
        return [(row.kind.value, row.destination) for row in self.worklist.study(study).deliveries]


@pytest.fixture
def ward(tmp_path):
    return Ward(tmp_path)
