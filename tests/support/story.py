"""A study's way over a worklist, told in short sentences: what several suites arrange their cases with."""

from datetime import UTC, datetime, timedelta

from triage_agent.domain.decision import Artifact, Decision, Flag, ModelIdentity, ShadowResult, Shipment
from triage_agent.domain.study import Assessment, CompletenessRule, InstanceHeader, ReceivedInstance
from triage_agent.domain.vocabulary import ArtifactKind, Event, Finding, Outcome, Priority

T0 = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
RULE = CompletenessRule(quiet=timedelta(seconds=30), max_wait=timedelta(seconds=900))
STUDY = "1.2.1"
MODEL = ModelIdentity(
    name="knees",
    version="1.2",
    digest="d" * 64,
    anatomies=("XR_KNEE",),
    threshold=0.5,
    alert=0.9,
    clinical_use=False,
)


DX = "1.2.840.10008.5.1.4.1.1.1.1"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR, as ours


def received(study=STUDY, image="1.2.1.1", at=T0, digest="a" * 64, sop_class_uid=DX, **header):
    return ReceivedInstance(
        header=InstanceHeader(
            study_instance_uid=study,
            series_instance_uid=f"{study}.9",
            sop_instance_uid=image,
            sop_class_uid=sop_class_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            **header,
        ),
        path=f"{image}.dcm",
        sha256=digest,
        size=1000,
        source="PACS",
        received_at=at,
    )


def scored(image, probability=0.7, digest=MODEL.digest, **changes):
    values = {"anatomy": "XR_KNEE", **changes}
    return Assessment(
        sop_instance_uid=image, outcome=Outcome.SCORED, probability=probability, bundle_digest=digest, **values
    )


def failed(image, outcome=Outcome.FAILED):
    return Assessment(sop_instance_uid=image, outcome=outcome, reason="cannot be decoded")


def shipment(uid="2.25.1", to="pacs", kind=ArtifactKind.SR, body=b"bytes"):
    return Shipment(artifact=Artifact(kind=kind, uid=uid, body=body, summary=f"{kind} {uid}"), destination=to)


SHADOW = "s" * 64


def in_shadow(image, shadow_probability=0.2, **changes):
    """A scored image with what the shadow bundle says of it."""
    return scored(image, shadow_probability=shadow_probability, shadow_digest=SHADOW, **changes)


def shadow_result(**changes):
    values = {
        "bundle": "other 1.0 (ssssssssssss)",
        "digest": SHADOW,
        "probability": 0.2,
        "finding": Finding.NORMAL,
        "agrees": False,
        **changes,
    }
    return ShadowResult(**values)


def decision(study=STUDY, revision=1, at=T0, **changes):
    values = {
        "event": Event.DECIDED,
        "finding": Finding.ABNORMAL,
        "probability": 0.8,
        "priority": Priority.URGENT,
        "acr_category": "2",
        "rule": "abnormal",
        "reasons": ("the mean of 2 images is 0.80",),
        "status_reason": "",
        "anatomy": "XR_KNEE",
        "model": MODEL,
        **changes,
    }
    return Decision(study_instance_uid=study, revision=revision, decided_at=at, **values)


def flag(study=STUDY, revision=1, image="1.2.1.1", at=T0, **changes):
    values = {
        "probability": 0.95,
        "priority": Priority.URGENT,
        "acr_category": "2",
        "rule": "alert",
        "reasons": ("one image is 0.95",),
        "anatomy": "XR_KNEE",
        "model": MODEL,
        **changes,
    }
    return Flag(study_instance_uid=study, revision=revision, sop_instance_uid=image, raised_at=at, **values)


class Story:
    """A worklist and a clock that goes on by a second with each sentence."""

    def __init__(self, worklist):
        self.worklist = worklist
        self.now = T0

    def tick(self, by=SECOND):
        self.now += by
        return self.now

    def item(self, study=STUDY):
        return self.worklist.study(study).item

    def status(self, study=STUDY):
        return self.item(study).status

    def actions(self, study=STUDY):
        return [event.action for event in self.worklist.study(study).audit]

    def receive(self, study=STUDY, image=None, **details):
        known = self.worklist.study(study)
        image = image or f"{study}.{len(known.instances) + 1 if known else 1}"
        return self.worklist.register(received(study, image, self.tick(), **details), RULE)

    def complete(self, study=STUDY):
        self.tick(RULE.quiet)
        view = next(v for v in self.worklist.due_for_completion(self.now) if v.study_instance_uid == study)
        assert self.worklist.complete(view, "no image for 30 s", self.now)

    def claim(self, owner="w1", lease=LEASE):
        return self.worklist.claim_study(owner, self.tick(), lease)

    def claimed(self, study=STUDY, owner="w1", **details):
        self.receive(study, **details)
        self.complete(study)
        claimed = self.claim(owner)
        assert claimed.study_instance_uid == study
        return claimed

    def decide(self, *shipments, study=STUDY, owner="w1", assessments=(), **changes):
        if "revision" not in changes:
            changes["revision"] = self.item(study).revision
        return self.worklist.decide(decision(study, at=self.tick(), **changes), assessments, shipments, owner)

    def decided(self, *shipments, study=STUDY, **changes):
        self.claimed(study)
        assert self.decide(*shipments, study=study, **changes)

    def deliveries(self, owner="s1", limit=10, **only):
        return self.worklist.claim_deliveries(owner, self.tick(), LEASE, limit, **only)

    def send(self, **only):
        """Send what is due now, once."""
        taken = self.deliveries(**only)
        for delivery in taken:
            self.worklist.delivery_sent(delivery, self.tick())
        return [delivery.artifact.uid for delivery in taken]

    def lose(self, error="refused", **only):
        """Fail what is due now, for good."""
        taken = self.deliveries(**only)
        for delivery in taken:
            self.worklist.delivery_failed(delivery, error, None, self.tick())
        return [delivery.artifact.uid for delivery in taken]
