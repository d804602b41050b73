"""The steps of the loops that keep the audit log: seal what is committed, and anchor the chain from time to time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from triage_agent.audit.anchors import Anchor, Signer, append
from triage_agent.audit.chain import link
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.audit_log import AuditLog
from triage_agent.domain.vocabulary import AuditAction

log = structlog.get_logger(__name__)

ANCHORS = "anchors"
"""The name of the cursor of what is anchored."""

_LEASE = timedelta(minutes=1)
_MOST = 500  # records in one transaction: some milliseconds


class Sealer:
    """Seals; one process at a time does, whichever is first."""

    def __init__(self, audit_log: AuditLog, clock: Callable[[], datetime], sealed: Callable[[int], None]) -> None:
        self._log = audit_log
        self._clock = clock
        self._sealed = sealed

    def step(self) -> bool:
        """Seal what there is, up to a limit; True if there may be more."""
        number = self._log.seal(link, self._clock(), _MOST)
        if number:
            self._sealed(number)
        return number == _MOST


class Anchorer:
    """Signs the chain's head every so often, where it has moved, and keeps it in a file and in the log itself.

    In the log, so that it goes wherever audit messages go. That record moves the head, too: a chain that only its own
    anchor made longer is not anchored again. One process at a time does it.
    """

    def __init__(
        self,
        audit_log: AuditLog,
        *,
        signer: Signer,
        anchors: Path,
        every: timedelta,
        record: Callable[[AuditEvent], None],
        actor: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = audit_log
        self._signer = signer
        self._anchors = anchors
        self._every = every
        self._record = record
        self._actor = actor
        self._clock = clock
        self._next: datetime | None = None

    def step(self) -> bool:
        """Anchor if it is time; there is never more to do at once."""
        now = self._clock()
        if self._next is not None and now < self._next <= now + self._every:  # not where the clock was set back
            return False
        self.anchor(now)
        self._next = now + self._every
        return False

    def anchor(self, now: datetime) -> bool:
        """Anchor the chain as it is; False where nothing but the last anchor came since, or another process does it."""
        anchored = self._log.claim_cursor(ANCHORS, self._actor, now, _LEASE)
        if anchored is None:
            return False
        head, error = self._log.head(), None
        done = head is not None and head.position > anchored + 1
        if head is not None and done:
            anchor = self._signer.sign(head, now)
            error = self._append(anchor)
            self._record(
                AuditEvent(at=now, action=AuditAction.AUDIT_ANCHORED, actor=self._actor, detail=_detail(anchor))
            )
            self._log.move_cursor(ANCHORS, self._actor, head.position, now, _LEASE)
        self._log.release_cursor(ANCHORS, self._actor, error)
        return done

    def _append(self, anchor: Anchor) -> str | None:
        """Keep it in the file; what was wrong if that failed: the record, which has it, too, is made all the same."""
        try:
            append(self._anchors, anchor)
        except OSError as error:
            log.error("anchor_not_written", error=error.strerror)  # noqa: TRY400 - the frames say nothing more
            return f"{self._anchors}: {error.strerror}"
        return None


def _detail(anchor: Anchor) -> dict[str, object]:
    values = {"position": anchor.position, "head": anchor.head, "at": anchor.at}
    return {**values, "key": anchor.key, "signature": anchor.signature}
