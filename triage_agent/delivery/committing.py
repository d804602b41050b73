"""The loop that asks a destination whether it keeps what it was sent (storage commitment, PS3.4 section J.3.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.domain.commitment import CommitmentReport, Commitments, Reported
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock

log = structlog.get_logger(__name__)

_OBJECTS = 100  # a question
ASK_SECONDS = 120.0  # longer than putting a question takes; a process that dies meanwhile costs so long


class Ask(Protocol):
    """A way to a destination."""

    def __call__(self, transaction_uid: str, objects: list[bytes]) -> None:
        """Returns when the destination has taken the question; raises DeliveryError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentRule:
    """How long a destination has to answer, how often it is asked, and how often something is sent again.

    Attributes:
        answer_within: from the question to the next one.
        most_asks: after so many questions without an answer a delivery stays sent.
        most_resends: of an object that the destination says it does not keep; then it is dead.
    """

    answer_within: timedelta = timedelta(hours=1)
    most_asks: int = 3
    most_resends: int = 3


class Asker:
    """Asks one destination."""

    def __init__(
        self,
        *,
        worklist: Commitments,
        destination: str,
        ask: Ask,
        clock: Clock,
        new_uid: Callable[[], str],
        rule: CommitmentRule,
        retry: RetryPolicy,
        observed: Callable[[str, str, int], None] = lambda _destination, _outcome, _objects: None,
    ) -> None:
        """`observed` is told the destination, `asked`, `refused` or `away`, and of how many objects."""
        self._worklist = worklist
        self._destination = destination
        self._ask = ask
        self._clock = clock
        self._new_uid = new_uid
        self._rule = rule
        self._retry = retry
        self._observed = observed
        self._failures = 0  # in a row
        self._left_alone = (clock(), clock())  # since, until

    def step(self) -> bool:
        """Put one question about what is due; False if nothing is, or the destination is left alone for a while.

        Raises:
            WorklistUnavailableError: the database is away; what was asked and could not be marked is asked again.
        """
        now, transaction_uid = self._clock(), self._new_uid()
        since, until = self._left_alone
        if since <= now < until:  # before that: the clock was set back
            return False
        until = now + timedelta(seconds=ASK_SECONDS)
        objects = self._worklist.claim_commitments(
            self._destination, transaction_uid, now, until, _OBJECTS, self._rule.most_asks
        )
        if not objects:
            return False
        line = log.bind(destination=self._destination, transaction_uid=transaction_uid, objects=len(objects))
        try:
            self._ask(transaction_uid, [artifact.body for artifact in objects])
        except DeliveryError as error:
            line.warning("commitment_not_asked", error=str(error))
            self._keep_failure(transaction_uid, error, len(objects))
            return False
        self._failures = 0
        self._worklist.commitments_asked(transaction_uid, self._clock() + self._rule.answer_within)
        self._observed(self._destination, "asked", len(objects))
        line.info("commitment_asked")
        return True

    def _keep_failure(self, transaction_uid: str, error: DeliveryError, objects: int) -> None:
        """Who cannot be reached is looked for as for deliveries; who refuses is asked again like who is silent."""
        now = self._clock()
        self._failures += 1
        pause_ends = now + self._retry.pause(self._failures)
        self._left_alone = (now, pause_ends)
        again_at = pause_ends if error.away else now + self._rule.answer_within
        self._worklist.commitments_not_asked(transaction_uid, str(error), again_at, counted=not error.away)
        self._observed(self._destination, "away" if error.away else "refused", objects)


class ReportTaker:
    """Keeps what destinations report."""

    def __init__(
        self,
        *,
        worklist: Commitments,
        clock: Clock,
        rule: CommitmentRule,
        observed: Callable[[frozenset[str], str, int], None] = lambda _peers, _outcome, _objects: None,
    ) -> None:
        """`observed` is told the destinations, `committed`, `resent` or `dead`, and of how many objects."""
        self._worklist = worklist
        self._clock = clock
        self._rule = rule
        self._observed = observed

    def take(self, destinations: frozenset[str], report: CommitmentReport) -> Reported:
        """Keep a report of a peer that is one of `destinations`; returns after commit.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        changed = self._worklist.commitment_reported(destinations, report, self._rule.most_resends, self._clock())
        outcomes = {"committed": changed.committed, "resent": changed.resent, "dead": changed.dead}
        for outcome, objects in outcomes.items():
            if objects:
                self._observed(destinations, outcome, objects)
        write = log.warning if changed.resent or changed.dead else log.info
        write("commitment_reported", peers=sorted(destinations), transaction_uid=report.transaction_uid, **outcomes)
        return changed
