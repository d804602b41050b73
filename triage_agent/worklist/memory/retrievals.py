"""What is fetched from a PACS, in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from triage_agent.domain.retrieval import Held, Retrieval, RetrievalRecord, RetrievalState
from triage_agent.domain.study import AssemblyView
from triage_agent.domain.vocabulary import Status
from triage_agent.worklist import trail
from triage_agent.worklist.memory.base import Rows
from triage_agent.worklist.memory.retrieval_entry import RetrievalEntry
from triage_agent.worklist.memory.rows import Lease, StudyEntry


class Fetching(Rows):
    """The port `Retrievals`."""

    def want_retrieval(
        self, study_instance_uid: str, peer: str, now: datetime, *, requested_by: str, revision: int = 0
    ) -> bool:
        """See `Retrievals.want_retrieval`."""
        with self._lock:
            study, known = self._studies.get(study_instance_uid), self._retrievals.get(study_instance_uid)
            if revision:
                if study is None or (study.item.status, study.item.revision) != (Status.RECEIVING, revision):
                    return False
                if known is not None and (known.is_open or known.record.revision == revision):
                    return False
            if known is not None and known.is_open and not known.lease.is_free(now):
                return True
            record = RetrievalRecord(
                study_instance_uid=study_instance_uid,
                peer=peer,
                state=RetrievalState.WAITING,
                requested_by=requested_by,
                requested_at=now,
                revision=revision or (known.record.revision if known else 0),
                attempts=0,
                expected=None,
                missing=(),
                last_error=None,
            )
            self._retrievals[study_instance_uid] = RetrievalEntry(record, next_attempt_at=now)
            self._audit.append(trail.retrieval_requested(study_instance_uid, peer=peer, actor=requested_by, at=now))
            return True

    def claim_retrieval(
        self, owner: str, now: datetime, lease: timedelta, study_instance_uid: str | None = None
    ) -> Retrieval | None:
        """See `Retrievals.claim_retrieval`."""
        with self._lock:
            free = [
                (entry.next_attempt_at, uid, entry)
                for uid, entry in self._retrievals.items()
                if entry.is_open and entry.lease.is_free(now)
                if (entry.next_attempt_at <= now if study_instance_uid is None else uid == study_instance_uid)
            ]
            if not free:
                return None
            *_, entry = min(free, key=lambda each: each[:2])
            return entry.claim(Lease(owner, now + lease))

    def retrieval_learnt(self, retrieval: Retrieval, expected: int, missing: Sequence[str]) -> bool:
        """See `Retrievals.retrieval_learnt`."""
        with self._lock:
            entry = self._held_for(retrieval)
            if entry is not None:
                entry.record = replace(entry.record, expected=expected, missing=tuple(missing))
            return entry is not None

    def retrieval_ended(
        self, retrieval: Retrieval, now: datetime, *, error: str | None, retry_at: datetime | None
    ) -> bool:
        """See `Retrievals.retrieval_ended`."""
        with self._lock:
            entry = self._held_for(retrieval)
            if entry is None:
                return False
            entry.lease, entry.next_attempt_at = Lease(), retry_at or now
            if error is not None and retry_at is not None:
                entry.record = replace(entry.record, last_error=error)
                return True
            state = RetrievalState.DONE if error is None else RetrievalState.GIVEN_UP
            entry.record = replace(entry.record, state=state, last_error=error)
            self._audit.append(trail.retrieval_ended(retrieval, state=state, at=now))
            study = self._studies.get(retrieval.study_instance_uid)
            if study is not None and study.item.status is Status.RECEIVING:
                study.next_check_at = now
            return True

    def retrieval_of(self, study_instance_uid: str) -> RetrievalRecord | None:
        """See `Retrievals.retrieval_of`."""
        with self._lock:
            entry = self._retrievals.get(study_instance_uid)
            return None if entry is None else entry.record

    def held_of(self, study_instance_uid: str) -> Held:
        """See `Retrievals.held_of`."""
        with self._lock:
            results = {
                entry.shipment.artifact.uid
                for entry in self._outbox.values()
                if entry.study_instance_uid == study_instance_uid
            }
            instances = {image.received.header.sop_instance_uid for image in self._images_of(study_instance_uid)}
            return Held(instances=frozenset(instances), own_results=frozenset(results))

    def _held_for(self, retrieval: Retrieval) -> RetrievalEntry | None:
        entry = self._retrievals.get(retrieval.study_instance_uid)
        return entry if entry is not None and entry.is_held_for(retrieval) else None

    def _view(self, study: StudyEntry) -> AssemblyView:
        return replace(study.view(), retrieval=self.retrieval_of(study.uid))

    def _give_back_retrievals(self, owner: str, now: datetime, taken_back: int) -> int:
        held = [entry for entry in self._retrievals.values() if entry.is_open and entry.lease.owner == owner]
        for entry in held:
            entry.lease, entry.next_attempt_at = Lease(), now
            entry.record = replace(entry.record, attempts=entry.record.attempts - taken_back)
        return len(held)
