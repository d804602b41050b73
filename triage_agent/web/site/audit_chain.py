"""The chain under the audit trail, as the console shows it, and its verification as a job."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from triage_agent.audit.anchors import Anchor
from triage_agent.audit.keeping import ANCHORS
from triage_agent.audit.messages import Source
from triage_agent.audit.verification import Report, verify
from triage_agent.audit.verified import Standing, result_detail, standing
from triage_agent.domain.audit import AuditEvent, AuditQuestion
from triage_agent.domain.audit_log import LATE, AuditLog, Behind
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import Clock
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.audit_words import Line, line_of

log = structlog.get_logger(__name__)

_LONGEST_SECONDS = 2 * 3600.0
_STOP_SECONDS = 5.0
_LATELY = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditParts:
    """What the console is made of.

    Attributes:
        source: how exported audit messages name us.
        anchors: reads the anchors that this agent has appended; raises `TriageError`.
        syslog: the cursor of what is sent; None where nothing is.
    """

    log: AuditLog
    source: Source
    anchors: Callable[[], Sequence[Anchor]] = tuple
    syslog: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    """How far the chain is.

    Attributes:
        sealed: up to which position; None where the row that says so is gone.
        lag: how long the oldest record has waited for its seal.
        anchored: the record of the last anchor.
        behind: how far the sender of messages is behind; None where nothing is sent.
        known: what verifications found, whoever ran them.
        stale: the whole log was last found intact so long ago that it says little of today's; or never.
        wrong: what an admin has to look at, in sentences.
    """

    sealed: int | None
    unsealed: int
    lag: timedelta
    anchored: Line | None
    behind: Behind | None
    known: Standing
    stale: bool
    wrong: tuple[str, ...]

    @property
    def needs_a_look(self) -> bool:
        """Whether it is anything but well."""
        return bool(self.wrong) or self.known.broken is not None


def chain_status(parts: AuditParts, now: datetime) -> ChainStatus:
    """How far the chain is now.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    head = parts.log.head()
    waiting = parts.log.unsealed(head.floor if head else 0)
    anchors = parts.log.records(AuditQuestion(action=AuditAction.AUDIT_ANCHORED, limit=1))
    behind = parts.log.behind(parts.syslog) if parts.syslog else None
    known = standing(parts.log)
    status = ChainStatus(
        sealed=head.position if head else None,
        unsealed=waiting.number,
        lag=waiting.lag(now),
        anchored=line_of(anchors[0]) if anchors else None,
        behind=behind,
        known=known,
        stale=known.whole is None or now - known.whole.at > _LATELY,
        wrong=(),
    )
    return replace(status, wrong=_wrong(status, parts.log.behind(ANCHORS).last_error))


def _wrong(status: ChainStatus, not_anchored: str | None) -> tuple[str, ...]:
    found = []
    if status.sealed is None:
        found.append("The row that says where the chain ends is gone. Verify the log.")
    if status.lag > LATE:
        found.append("Records wait for their seals. A running agent seals within seconds.")
    if not_anchored:
        found.append(f"The last anchor could not be kept: {not_anchored}")
    if status.behind is not None and status.behind.last_error:
        found.append(f"Audit messages are not taken: {status.behind.last_error}")
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A verification: `done` of `end` positions while it runs, then its report or what kept it from ending."""

    by: str
    began_at: datetime
    days: int
    end: int = 0
    done: int = 0
    ended_at: datetime | None = None
    report: Report | None = None
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def percent(self) -> int:
        """How much of the chain it has looked at."""
        return 100 if self.end <= 0 else min(100, 100 * self.done // self.end)


class _StoppedError(TriageError):
    """The job ends before its time."""


class Verifier:
    """Verifies as `audit verify` does, one job at a time, in a thread that leaves half of its time to others."""

    def __init__(self, parts: AuditParts, record: Callable[[AuditEvent], None], clock: Clock) -> None:
        self._parts = parts
        self._record = record
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.job: Job | None = None

    def start(self, by: str, address: str, days: int) -> bool:
        """Begin, over the whole chain or what was sealed in the last `days`; False while another job runs.

        Raises:
            WorklistUnavailableError: that it begins cannot be written down.
        """
        with self._lock:
            if (self.job is not None and self.job.running) or self._stop.is_set():
                return False
            now = self._clock()
            self._use(by, now, AuditAction.AUDIT_READ, address=address, begun=True, days=days)
            self.job = Job(by=by, began_at=now, days=days)
            self._thread = threading.Thread(target=self._run, args=(address,), name="audit-verify", daemon=True)
            self._thread.start()
            return True

    def close(self) -> None:
        """End the job that runs; no other begins."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def _run(self, address: str) -> None:
        report, error = None, ""
        try:
            report = self._verify()
        except TriageError as wrong:
            error = wrong.message
        except Exception as wrong:  # noqa: BLE001 - whatever it is, the page says that the job has ended
            log.error("audit_verify_failed", error=type(wrong).__name__)  # noqa: TRY400 - frames may hold records
            error = f"unexpected {type(wrong).__name__}"
        self._end(report, error, address)

    def _verify(self) -> Report:
        job, head = self._running(), self._parts.log.head()
        since = job.began_at - timedelta(days=job.days) if job.days else None
        self.job = replace(job, end=head.position if head else 0)
        return verify(self._parts.log, job.began_at, since=since, anchors=self._parts.anchors(), progress=self._paced())

    def _paced(self) -> Callable[[int], None]:
        """Notes how far it is, and waits as long as the piece took: scoring and receiving go on beside it."""
        began = last = time.monotonic()

        def progress(position: int) -> None:
            nonlocal last
            self.job = replace(self._running(), done=position)
            now = time.monotonic()
            if self._stop.wait(now - last):
                raise _StoppedError("the agent ended")
            if now - began > _LONGEST_SECONDS:
                raise _StoppedError("it took too long", remedy="`triage-agent audit verify` has no limit")
            last = time.monotonic()

        return progress

    def _running(self) -> Job:
        assert self.job is not None  # noqa: S101 - while the thread runs there is one
        return self.job

    def _end(self, report: Report | None, error: str, address: str) -> None:
        job, now = self._running(), self._clock()
        found: dict[str, Any] = {"ended": False, "error": error}
        if report is not None:
            found = result_detail(report, whole=not job.days)
        if report is not None and not report.intact:
            log.error("audit_log_not_intact", wrong=report.wrong)
        try:
            self._use(job.by, now, AuditAction.AUDIT_VERIFIED, address=address, **found)
        except TriageError as wrong:
            error = f"{error} The result is not written down: {wrong.message}".strip()
        self.job = replace(job, ended_at=now, report=report, error=error)

    def _use(self, by: str, at: datetime, action: AuditAction, **detail: object) -> None:
        """Using the log is an event, too (PS3.15 section A.5.3.2)."""
        said = {"command": "verify", **detail}
        self._record(AuditEvent(at=at, action=action, actor=by, detail=said))
