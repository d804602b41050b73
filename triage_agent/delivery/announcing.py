"""The loop that tells subscribers what became of workitems (PS3.4 section CC.2.4.3).

What is to be told is in the database from the transaction on that caused it, so that a restart forgets nothing. Each
subscriber is told in order, and one that is away holds up its own reports only.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import structlog

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock
from triage_agent.domain.workitem import StepReport, Workitems

log = structlog.get_logger(__name__)

_AT_ONCE = 50  # reports of one turn, and workitems looked at for changes
_TELL_SECONDS = 60.0  # longer than one report takes; nobody else tells that subscriber meanwhile


@dataclass(slots=True)
class _Away:
    failures: int
    since: datetime
    until: datetime


class Announcer:
    """Tells one subscriber after the other."""

    def __init__(
        self,
        *,
        workitems: Workitems,
        tell: Callable[[StepReport], None],
        clock: Clock,
        rng: Random,
        retry: RetryPolicy,
        apart: Collection[str] = (),
        observed: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """`tell` raises DeliveryError; `observed` is told `told`, `refused`, `retry` or `dead`, once an attempt.

        Subscribers that are `apart` are told by somebody else.
        """
        self._workitems = workitems
        self._tell = tell
        self._clock = clock
        self._rng = rng
        self._retry = retry
        self._apart = frozenset(apart)
        self._observed = observed
        self._away: dict[str, _Away] = {}

    def step(self) -> bool:
        """Look for changes, and tell one subscriber what waits for it; False if there was nothing to do.

        Raises:
            WorklistUnavailableError: the database is away; what was told and could not be marked is told again.
        """
        changed = self._workitems.tell_changes(self._clock(), _AT_ONCE)
        now = self._clock()
        # Before `since` the clock was set back.
        away = self._apart | {title for title, state in self._away.items() if state.since <= now < state.until}
        reports = self._workitems.claim_reports(now, now + timedelta(seconds=_TELL_SECONDS), away, _AT_ONCE)
        deadline = now + timedelta(seconds=_TELL_SECONDS / 2)
        for report in reports:
            if self._clock() > deadline or not self._told(report):
                break
        return bool(changed or reports)

    def _told(self, report: StepReport) -> bool:
        """Whether the next one may follow."""
        try:
            self._tell(report)
        except DeliveryError as error:
            if error.permanent:  # it has been told, and does not want it
                log.warning("workitem_report_refused", subscriber=report.subscriber, error=str(error))
                self._done(report, "refused", str(error))
                return True
            self._failed(report, error)
            return False
        self._done(report, "told", "")
        return True

    def _done(self, report: StepReport, outcome: str, refusal: str) -> None:
        self._away.pop(report.subscriber, None)
        self._workitems.report_sent(report, self._clock(), refusal)
        self._observed(outcome)

    def _failed(self, report: StepReport, error: DeliveryError) -> None:
        now, title = self._clock(), report.subscriber
        failures = self._away[title].failures + 1 if title in self._away else 1
        self._away[title] = _Away(failures, now, now + self._retry.pause(failures))
        retry_at = self._retry.next_attempt(report.attempt, now, self._rng)
        log.warning("workitem_report_failed", subscriber=title, attempt=report.attempt, error=str(error))
        self._workitems.report_failed(report, str(error), retry_at)
        self._observed("dead" if retry_at is None else "retry")
