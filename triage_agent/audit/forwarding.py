"""The step of the loop that sends the audit log by syslog, from the chain, with a cursor that outlives the process.

The chain is the spool: what the receiver did not take stays where it is, in order, however long it is away.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from triage_agent.domain.audit import AuditEvent, AuditRecord
from triage_agent.domain.audit_log import AuditLog, Seal
from triage_agent.domain.errors import ConfigurationError, DeliveryError

log = structlog.get_logger(__name__)

BATCH = 200
"""Records that are sent at once."""

_LEASE = timedelta(minutes=2)  # longer than any batch waits: another process takes over when this one is dead
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0  # seconds, while the receiver is away

Frame = Callable[[int, AuditEvent, tuple[str, str] | None], bytes | None]
"""The syslog message of the record at a position, whose study is of a patient (ID, name); None for what makes none."""


class Forwarder:
    """Sends what is sealed, in the order of the chain, at least once."""

    def __init__(
        self,
        audit_log: AuditLog,
        *,
        name: str,
        owner: str,
        frame: Frame,
        send: Callable[[list[bytes]], None],
        clock: Callable[[], datetime],
        count: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the cursor's, `owner` this process's; `count` counts seconds."""
        self._log = audit_log
        self._name = name
        self._owner = owner
        self._frame = frame
        self._send = send
        self._clock = clock
        self._count = count
        self._done = -1  # the position up to which this process knows that all is sent
        self._failures = 0
        self._not_before = 0.0

    def step(self) -> bool:
        """Send one batch if there is one; True if there may be another.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        if self._count() < self._not_before:
            return False
        head = self._log.head()
        if head is None or head.position <= self._done:
            return False
        position = self._log.claim_cursor(self._name, self._owner, self._clock(), _LEASE)
        if position is None:
            return False
        links = self._log.links(position, BATCH)
        error = self._sent(links)
        if error is None and links:
            position = links[-1][0].position
            if self._log.move_cursor(self._name, self._owner, position, self._clock(), _LEASE):
                self._done = position
        elif error is None:
            self._done = position
        self._log.release_cursor(self._name, self._owner, error)
        return error is None and len(links) == BATCH

    def _sent(self, links: Sequence[tuple[Seal, AuditRecord | None]]) -> str | None:
        """Send a batch; None when it is, else why not."""
        try:
            frames = self._frames(links)
            if frames:
                self._send(frames)
        except (DeliveryError, ConfigurationError) as error:
            self._failures += 1
            self._not_before = self._count() + min(_FIRST_WAIT * 2.0 ** min(self._failures - 1, 8), _LONGEST_WAIT)
            if self._failures == 1:
                log.warning("audit_receiver_away", error=error.message)
            return error.message
        if self._failures:
            log.info("audit_receiver_back")
        self._failures = 0
        return None

    def _frames(self, links: Sequence[tuple[Seal, AuditRecord | None]]) -> list[bytes]:
        events: list[tuple[int, AuditEvent]] = []
        for seal, record in links:
            try:
                if record is None:
                    raise ValueError("deleted")  # noqa: TRY301 - as what is changed so that nobody can read it
                events.append((seal.position, record.event))
            except ValueError:
                log.error("audit_record_not_as_written", record_id=seal.record_id)  # noqa: TRY400 - `verify` says more
        studies = {event.study_instance_uid for _, event in events if event.study_instance_uid is not None}
        patients = self._log.patients(studies) if studies else {}
        made = (self._frame(at, event, patients.get(event.study_instance_uid or "")) for at, event in events)
        return [one for one in made if one is not None]
