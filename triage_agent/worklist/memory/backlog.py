"""What waits, in memory."""

from collections import Counter
from datetime import datetime

from triage_agent.domain.backlog import Backlog, Pending, Waiting
from triage_agent.domain.vocabulary import DeliveryState, Priority, Status
from triage_agent.worklist.memory.base import Rows

_WAITS = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


class Backlogs(Rows):
    """The port `Backlogs`."""

    def backlog(self, now: datetime) -> Backlog:
        """See `Backlogs.backlog`."""
        with self._lock:
            studies = list(self._studies.values())
            held = [study for study in studies if study.item.status is Status.SCORING and not study.lease.is_free(now)]
            by_priority = self._waiting(now)
            return Backlog(
                waiting=sum(one.number for one in by_priority.values()),
                since=min((one.since for one in by_priority.values()), default=None),
                held=len(held),
                pending=self._pending(),
                retrievals=sum(entry.is_open for entry in self._retrievals.values()),
                by_priority=by_priority,
                dead=self._dead_by_destination(),
            )

    def _waiting(self, now: datetime) -> dict[Priority, Waiting]:
        times: dict[Priority, list[datetime]] = {}
        for study in self._studies.values():
            if study.item.status is Status.READY:
                times.setdefault(study.item.priority, []).append(study.last_received_at)
            elif study.item.status is Status.RECEIVING and study.next_check_at <= now:
                times.setdefault(study.item.priority, []).append(study.next_check_at)
        return {priority: Waiting(number=len(since), since=min(since)) for priority, since in times.items()}

    def _pending(self) -> dict[str, Pending]:
        by_destination: dict[str, list[datetime]] = {}
        for entry in self._outbox.values():
            if entry.state in _WAITS:
                by_destination.setdefault(entry.shipment.destination, []).append(entry.queued_at)
        return {name: Pending(number=len(times), since=min(times)) for name, times in by_destination.items()}

    def _dead_by_destination(self) -> dict[str, int]:
        dead = [entry.shipment.destination for entry in self._outbox.values() if entry.state is DeliveryState.DEAD]
        return dict(Counter(dead))
