"""The whole port, in memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from triage_agent.domain.ports import StudyDetail
from triage_agent.domain.states import sources_of
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import DeliveryState, Event, Outcome, Priority, Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import trail
from triage_agent.worklist.limits import EXPIRED, GIVEN_BACK, PUT_BACK, conflicts_told
from triage_agent.worklist.memory.backlog import Backlogs
from triage_agent.worklist.memory.commitments import Commitments
from triage_agent.worklist.memory.history import Histories
from triage_agent.worklist.memory.intake import Intake
from triage_agent.worklist.memory.retention import Retention
from triage_agent.worklist.memory.retrieval_entry import RetrievalEntry
from triage_agent.worklist.memory.rows import Image, Lease, OutboxEntry, StudyEntry
from triage_agent.worklist.memory.scoring import Scoring
from triage_agent.worklist.memory.shadow import Shadow
from triage_agent.worklist.memory.spools import Spools
from triage_agent.worklist.memory.withdrawals import Withdrawals
from triage_agent.worklist.order_rules import reasons_of


class MemoryWorklist(Intake, Scoring, Shadow, Commitments, Retention, Spools, Backlogs, Withdrawals, Histories):
    """The `Worklist` port without a database; safe to share between threads."""

    def give_back(self, owner: str, now: datetime, *, counted: bool = True) -> int:
        """See `Worklist.give_back`."""
        taken_back = 0 if counted else 1
        with self._lock:
            released = self._release(lambda lease: lease.owner == owner, GIVEN_BACK, owner, now, taken_back)
            for image in self._images.values():
                if image.lease.owner == owner:
                    image.lease = Lease()
                    image.attempts -= taken_back
                    released += 1
            for entry in self._outbox.values():
                if entry.state is DeliveryState.SENDING and entry.lease.owner == owner:
                    entry.wait(now)
                    released += 1
            return released + self._give_back_retrievals(owner, now, taken_back)

    def renew_leases(self, owner: str, now: datetime, lease: timedelta) -> int:
        """See `Worklist.renew_leases`."""
        with self._lock:
            held = [thing for thing in self._everything() if thing.lease.owner == owner]
            for thing in held:
                thing.lease = Lease(owner, now + lease)
            return len(held)

    def expire_leases(self, now: datetime) -> int:
        """See `Worklist.expire_leases`."""
        with self._lock:
            return self._release(lambda lease: lease.is_free(now), EXPIRED, trail.AGENT, now)

    def bring_deadlines_near(self, now: datetime, longest: LongestWaits) -> int:
        """See `Worklist.bring_deadlines_near`."""
        latest = now + longest.lease
        with self._lock:
            held = [thing for thing in self._everything() if thing.lease.ends_after(latest)]
            for thing in held:
                thing.lease = replace(thing.lease, until=latest)
            near = [entry.bring_near(now, longest) for entry in self._outbox.values()]
            near += [entry.bring_near(now, longest) for entry in self._requests.values()]
            near += [entry.bring_near(now, longest) for entry in self._retrievals.values()]
            return len(held) + sum(near)

    def _everything(self) -> list[StudyEntry | Image | OutboxEntry | RetrievalEntry]:
        """That can be held."""
        studies, images, outbox = self._studies.values(), self._images.values(), self._outbox.values()
        return [*studies, *images, *outbox, *self._retrievals.values()]

    def _release(
        self, which: Callable[[Lease], bool], reason: str, actor: str, now: datetime, taken_back: int = 0
    ) -> int:
        held = [each for each in self._studies.values() if each.item.status is Status.SCORING and which(each.lease)]
        for study in sorted(held, key=lambda each: each.uid):
            self._advance(study, Event.GIVEN_BACK, actor, now)
            study.attempts -= taken_back
            study.item = replace(study.item, status_reason=reason)
        return len(held)

    def items(
        self, *, status: Status | None = None, priority: Priority | None = None, limit: int = 100
    ) -> Sequence[WorklistItem]:
        """See `Worklist.items`."""
        with self._lock:
            listed = [
                study.shown
                for study in sorted(self._studies.values(), key=lambda study: study.place)
                if status in {None, study.item.status} and priority in {None, study.item.priority}
            ]
            return listed[:limit]

    def study(self, study_instance_uid: str) -> StudyDetail | None:
        """See `Worklist.study`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None:
                return None
            past = self._superseded(study)
            audit = tuple(event for event in self._audit if event.study_instance_uid == study.uid)
            return StudyDetail(
                item=study.shown,
                reasons=(*study.reasons, *conflicts_told(audit), *reasons_of(self._orders_of(study))),
                instances=tuple(image.stored() for image in self._images_of(study.uid)),
                deliveries=tuple(e.record(past) for e in self._outbox.values() if e.study_instance_uid == study.uid),
                audit=audit,
                shadow=study.last_shadow,
                retrieval=self.retrieval_of(study.uid),
            )

    def studies_called(self, name: str) -> Sequence[str]:
        """See `Worklist.studies_called`."""
        with self._lock:
            if name in self._studies:
                return [name]
            return sorted(uid for uid, study in self._studies.items() if study.item.accession_number == name)

    def retry_study(self, study_instance_uid: str, actor: str, now: datetime) -> int:
        """See `Worklist.retry_study`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None:
                return 0
            past = self._superseded(study)
            dead = [e for e in self._dead() if e.study_instance_uid == study.uid and e.number not in past]
            for entry in dead:
                entry.wait(now)
                entry.attempts = entry.commit_resends = 0
            there = [image for image in self._images_of(study.uid) if image.original_deleted_at is None]
            put_back = study.item.status in sources_of(Event.RETRIED) and bool(there)
            if dead or put_back:
                self._audit.append(
                    trail.retry_requested(study.uid, deliveries=len(dead), study=put_back, actor=actor, at=now)
                )
            if put_back:
                for image in there:
                    if image.assessment is None or image.assessment.outcome is not Outcome.SCORED:
                        image.forget()
                self._advance(study, Event.RETRIED, actor, now)
                study.start_over(now)
                study.item = replace(study.item, status_reason=PUT_BACK)
            self._settle(study, now)
            return len(dead) + put_back

    def _dead(self) -> list[OutboxEntry]:
        return [entry for entry in self._outbox.values() if entry.state is DeliveryState.DEAD]

    def retry_failed(self, actor: str, now: datetime) -> int:
        """See `Worklist.retry_failed`."""
        with self._lock:
            failed = {entry.study_instance_uid for entry in self._dead()}
            failed |= {study.uid for study in self._studies.values() if study.item.status is Status.NEEDS_HUMAN}
            in_order = sorted(failed, key=lambda uid: self._studies[uid].urgency)
            return sum(self.retry_study(uid, actor, now) for uid in in_order)

    def counts(self) -> dict[str, dict[str, int]]:
        """See `Worklist.counts`."""
        with self._lock:
            items = [study.item for study in self._studies.values()]
            return {
                "status": {word.value: sum(item.status is word for item in items) for word in Status},
                "priority": {word.value: sum(item.priority is word for item in items) for word in Priority},
                "outbox": {
                    word.value: sum(entry.state is word for entry in self._outbox.values()) for word in DeliveryState
                },
            }

    def ping(self) -> None:
        """See `Worklist.ping`; memory is always there."""
