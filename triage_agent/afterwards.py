"""What is done about decided studies once their decision has been committed: one after the other, in a loop of its own.

What waits is kept in this process only: if it ends, those studies stay without.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from triage_agent.domain.decision import Decision
from triage_agent.domain.errors import DecoderUnavailableError, TriageError, WorklistUnavailableError
from triage_agent.domain.study import Assessment, ClaimedStudy

log = structlog.get_logger(__name__)


class StoppedError(TriageError):
    """The agent ends: what is in hand is not finished."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A study with its decision, and what was made of its instances."""

    study: ClaimedStudy
    decision: Decision
    assessments: tuple[Assessment, ...]


class Afterwards:
    """Studies that wait for something of which no flag and no decision depends (promise 7)."""

    def __init__(self, what: str, longest: int, failed: Callable[[], None]) -> None:
        """`what` begins the names of log events; beyond `longest` studies are left out; `failed` is told of each."""
        self._left_out, self._gone_wrong = f"{what}_left_out", f"{what}_failed"
        self._longest = longest
        self._failed = failed
        self._waiting: deque[Decided] = deque()
        self.stopping = threading.Event()

    def put(self, study: ClaimedStudy, decision: Decision, assessments: Sequence[Assessment]) -> None:
        """Let a study wait; returns at once."""
        if len(self._waiting) >= self._longest:
            uid, waiting = study.study_instance_uid, len(self._waiting)
            log.warning(self._left_out, study_instance_uid=uid, waiting=waiting)
            self._failed()
            return
        self._waiting.append(Decided(study, decision, tuple(assessments)))

    def stop(self) -> None:
        """Do not finish what is in hand."""
        self.stopping.set()

    def step(self, work: Callable[[Decided], None]) -> bool:
        """Do it for the study that has waited longest; True if there was one.

        Raises:
            WorklistUnavailableError: what was found could not be kept; the study stays the next one.
            DecoderUnavailableError: the spool is away, or nothing can be decoded; it stays the next one, too.
        """
        if not self._waiting:
            return False
        first = self._waiting[0]
        with structlog.contextvars.bound_contextvars(study_instance_uid=first.study.study_instance_uid):
            try:
                work(first)
            except StoppedError:
                return False
            except (WorklistUnavailableError, DecoderUnavailableError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it does, it costs itself only
                log.warning(self._gone_wrong, error=type(error).__name__)  # its words may quote a patient's
                self._failed()
        self._waiting.popleft()
        return True
