"""The mutable counterpart of a retrieval's row."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from triage_agent.domain.retrieval import Retrieval, RetrievalRecord, RetrievalState
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist import trail
from triage_agent.worklist.memory.rows import Lease


@dataclass(slots=True)
class RetrievalEntry:
    """One study's last retrieval."""

    record: RetrievalRecord
    next_attempt_at: datetime
    lease: Lease = field(default_factory=Lease)

    @property
    def is_open(self) -> bool:
        """Whether somebody fetches it, or will."""
        return self.record.state is RetrievalState.WAITING

    def bring_near(self, now: datetime, longest: LongestWaits) -> bool:
        """Shorten a wait that lies farther ahead than could have been set; whether it did."""
        untried, latest = self.record.attempts == 0, now + longest.fetching
        if not self.is_open or self.next_attempt_at <= (now if untried else latest):
            return False
        self.next_attempt_at = now if untried or self.lease.owner is not None else latest
        return True

    def claim(self, lease: Lease) -> Retrieval:
        """Hand it to whoever fetches."""
        self.lease = lease
        self.record = replace(self.record, attempts=self.record.attempts + 1)
        return Retrieval(
            study_instance_uid=self.record.study_instance_uid,
            peer=self.record.peer,
            requested_by=self.record.requested_by,
            owner=lease.owner or "",
            attempt=self.record.attempts,
            everything=self.record.requested_by != trail.AGENT,
        )

    def is_held_for(self, retrieval: Retrieval) -> bool:
        """Whether it is that attempt's still."""
        return self.is_open and (self.lease.owner, self.record.attempts) == (retrieval.owner, retrieval.attempt)
