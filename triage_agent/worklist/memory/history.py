"""Decisions as they were made, in memory."""

from collections.abc import Sequence
from datetime import datetime

from triage_agent.domain.decision import Decision
from triage_agent.domain.history import DecidedRevision, DecidedStudy
from triage_agent.domain.states import CONCLUDED
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.worklist.history import asked
from triage_agent.worklist.memory.ordering import Ordering


class Histories(Ordering):
    """The port `Histories`."""

    def studies_decided_since(self, since: datetime) -> Sequence[str]:
        """See `Histories.studies_decided_since`."""
        with self._lock:
            last = {
                uid: max(decision.decided_at for decision in study.decisions.values())
                for uid, study in self._studies.items()
                if study.decisions
            }
            return sorted((uid for uid, at in last.items() if at >= since), key=lambda uid: (last[uid], uid))

    def decided_study(self, study_instance_uid: str) -> DecidedStudy | None:
        """See `Histories.decided_study`."""
        with self._lock:
            study = self._studies.get(study_instance_uid)
            if study is None or not study.decisions:
                return None
            raised = [
                event
                for event in self._audit
                if event.action is AuditAction.PRIORITY_RAISED and event.study_instance_uid == study.uid
            ]
            return DecidedStudy(
                study_instance_uid=study.uid,
                accession_number=study.item.accession_number,
                asked=asked(study.item.received_at, study.item.priority_at_arrival, raised),
                known_now=self._known_of(study),
                lost=study.conflict,
                in_work=study.item.status not in CONCLUDED,
                instances=tuple(image.stored() for image in self._images_of(study.uid)),
                revisions=tuple(self._revision(study.decisions[number]) for number in sorted(study.decisions)),
            )

    def _revision(self, decision: Decision) -> DecidedRevision:
        earlier = [entry for entry in self._outbox.values() if entry.queued_at < decision.decided_at]
        uid = decision.study_instance_uid
        return DecidedRevision(
            revision=decision.revision,
            event=decision.event,
            finding=decision.finding,
            probability=decision.probability,
            priority=decision.priority,
            acr_category=decision.acr_category,
            rule=decision.rule,
            status_reason=decision.status_reason,
            model=decision.model,
            decided_at=decision.decided_at,
            known=decision.known,
            routes=decision.routes,
            told=frozenset(entry.shipment.destination for entry in earlier if entry.study_instance_uid == uid),
        )
