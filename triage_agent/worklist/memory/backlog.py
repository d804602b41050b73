"""What waits, in memory."""

from datetime import datetime

from triage_agent.domain.backlog import Backlog, Pending
from triage_agent.domain.vocabulary import DeliveryState, Status
from triage_agent.worklist.memory.base import Rows

_WAITS = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


class Backlogs(Rows):
    """The port `Backlogs`."""

    def backlog(self, now: datetime) -> Backlog:
        """See `Backlogs.backlog`."""
        with self._lock:
            studies = list(self._studies.values())
            since = [study.last_received_at for study in studies if study.item.status is Status.READY]
            since += [
                study.next_check_at
                for study in studies
                if study.item.status is Status.RECEIVING and study.next_check_at <= now
            ]
            held = [study for study in studies if study.item.status is Status.SCORING and not study.lease.is_free(now)]
            return Backlog(
                waiting=len(since),
                since=min(since, default=None),
                held=len(held),
                pending=self._pending(),
                retrievals=sum(entry.is_open for entry in self._retrievals.values()),
            )

    def _pending(self) -> dict[str, Pending]:
        by_destination: dict[str, list[datetime]] = {}
        for entry in self._outbox.values():
            if entry.state in _WAITS:
                by_destination.setdefault(entry.shipment.destination, []).append(entry.queued_at)
        return {name: Pending(number=len(times), since=min(times)) for name, times in by_destination.items()}
