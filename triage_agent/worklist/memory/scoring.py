"""Scoring, in memory."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from triage_agent.domain.decision import Decision, Flag, Shipment
from triage_agent.domain.states import CONCLUDED, sources_of
from triage_agent.domain.study import Assessment, ClaimedImage, ClaimedStudy
from triage_agent.domain.vocabulary import Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.limits import MAX_ATTEMPTS, not_lowering, require_conclusion
from triage_agent.worklist.memory.ordering import Ordering
from triage_agent.worklist.memory.outbox import Outbox
from triage_agent.worklist.memory.rows import Lease


class Scoring(Outbox, Ordering):
    """The part of the port that workers use."""

    def claim_images(self, owner: str, now: datetime, lease: timedelta, limit: int) -> Sequence[ClaimedImage]:
        """See `Worklist.claim_images`."""
        with self._lock:
            free = [
                (study, image)
                for image in self._images.values()
                if image.assessment is None and image.attempts < MAX_ATTEMPTS and image.lease.is_free(now)
                if (study := self._studies[image.study_instance_uid]).item.status is Status.RECEIVING
            ]
            free.sort(key=lambda pair: (-pair[0].item.priority.rank, *pair[1].age))
            for _, image in free[:limit]:
                image.lease = Lease(owner, now + lease)
                image.attempts += 1
            return [
                ClaimedImage(
                    study_instance_uid=study.uid,
                    revision=study.item.revision,
                    priority=study.item.priority,
                    instance=image.stored(),
                    known=self._known_of(study),
                )
                for study, image in free[:limit]
            ]

    def record_assessment(
        self,
        claimed: ClaimedImage,
        assessment: Assessment,
        now: datetime,  # noqa: ARG002, the port's signature
    ) -> bool:
        """See `Worklist.record_assessment`."""
        with self._lock:
            return self._keep(claimed.study_instance_uid, assessment)

    def _keep(self, study_instance_uid: str, assessment: Assessment) -> bool:
        image = self._images.get(assessment.sop_instance_uid)
        if image is None or image.study_instance_uid != study_instance_uid or image.assessment is not None:
            return False
        image.assess(assessment)
        return True

    def raise_flag(
        self, flag: Flag, shipments: Sequence[Shipment], now: datetime, assessment: Assessment | None = None
    ) -> bool:
        """See `Worklist.raise_flag`."""
        with self._lock:
            if assessment is not None:
                self._keep(flag.study_instance_uid, assessment)
            study = self._studies.get(flag.study_instance_uid)
            if study is None or flag.priority.rank <= study.item.priority.rank:
                return False
            self._audit.append(trail.priority_flagged(flag, study.item.priority, now))
            study.flag(flag, decided=study.item.status in CONCLUDED)
            self._enqueue(study, flag.revision, shipments, now, of_decision=False)
            return True

    def claim_study(self, owner: str, now: datetime, lease: timedelta) -> ClaimedStudy | None:
        """See `Worklist.claim_study`."""
        with self._lock:
            ready = [
                study
                for study in self._studies.values()
                if study.item.status is Status.READY and not self._is_in_hand(study.uid, now)
            ]
            if not ready:
                return None
            study = min(ready, key=lambda each: each.urgency)
            self._advance(study, Event.CLAIMED, owner, now)
            study.lease = Lease(owner, now + lease)
            study.attempts += 1
            images, fetched = self._images_of(study.uid), self._retrievals.get(study.uid)
            here = [image.received.header.sop_instance_uid for image in images]
            return ClaimedStudy(
                study_instance_uid=study.uid,
                revision=study.item.revision,
                priority=study.item.priority,
                attempt=study.attempts,
                instances=tuple(image.stored() for image in images),
                shortfall=fetched.record.shortfall(here) if fetched else "",
                lost=study.conflict,
                merged=study.merged,
                known=self._known_of(study),
                told=frozenset(
                    entry.shipment.destination
                    for entry in self._outbox.values()
                    if entry.study_instance_uid == study.uid
                ),
            )

    def _is_in_hand(self, study_instance_uid: str, now: datetime) -> bool:
        """Whether somebody is still scoring an image of it."""
        images = self._images_of(study_instance_uid)
        return any(image.assessment is None and not image.lease.is_free(now) for image in images)

    def decide(
        self,
        decision: Decision,
        assessments: Sequence[Assessment],
        shipments: Sequence[Shipment],
        owner: str,
        *,
        routed: bool = False,
    ) -> bool:
        """See `Worklist.decide`."""
        require_conclusion(decision.event)
        with self._lock:
            study = self._studies.get(decision.study_instance_uid)
            if study is None or study.item.status not in sources_of(decision.event):
                return False
            if (study.item.revision, study.lease.owner) != (decision.revision, owner):
                return False
            before = study.item.priority
            self._advance(study, decision.event, owner, decision.decided_at)
            study.decide(decision)
            study.routed = routed
            self._audit.append(trail.decision_made(decision, owner))
            if study.item.priority is not before:
                self._audit.append(trail.priority_decided(decision, before, study.item.priority, owner))
            for assessment in assessments:
                image = self._images.get(assessment.sop_instance_uid)
                if image is not None and image.study_instance_uid == study.uid:
                    image.assess(assessment)
            wanted = not_lowering(shipments, study.item.priority)
            self._enqueue(study, decision.revision, wanted, decision.decided_at, of_decision=True)
            self._settle(study, decision.decided_at)
            return True
