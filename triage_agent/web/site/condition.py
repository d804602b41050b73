"""What is wrong with the agent, as far as readers of the list have to know: what, since when, what it means for them.

Nothing is told before it has lasted: a banner that cries wolf is read by nobody. What waits says since when by itself,
so that a role that has nothing but the database tells the truth, also when it has just begun.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from triage_agent.domain.backlog import Backlog
from triage_agent.domain.errors import TriageError, WorklistUnavailableError
from triage_agent.domain.ports import Clock, Worklist

TOO_LONG = timedelta(minutes=5)  # for a study to wait for a worker, or a result for its destination
_LASTING = timedelta(seconds=30)  # for a part that is not ready, or a slow database
_SLOW_SECONDS = 2.0  # for one look
_SILENT = timedelta(seconds=90)  # without any look: the database holds it up
_NEVER = datetime.min.replace(tzinfo=UTC)
_ORDER = "Studies may be missing from the top of the list. Read by what was ordered, and by age."
_NOT_READY = {
    "model": ("The model does not answer.", f"No study is scored or raised. {_ORDER}"),
    "database": ("The database does not answer as it should.", "What you see may be old, and changes may fail."),
    "disk": ("The disk is full.", "New studies are missing here: they wait where they were sent from."),
    "spool": ("The images' folder is away.", "New studies are missing here: they wait where they were sent from."),
}
_OTHER = ("A part of the agent is not ready.", "New studies, or raises, may be missing here.")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that readers have to know.

    Attributes:
        what: a sentence; no peer's own text.
        means: what it means for the list, in a sentence or two.
    """

    what: str
    since: datetime
    means: str


class _Waiting:
    """Since when something has waited in truth: what is put back by hand is older than its wait."""

    def __init__(self) -> None:
        self._oldest: datetime | None = None
        self._not_before = _NEVER

    def since(self, oldest: datetime | None, last_look: datetime | None) -> datetime | None:
        """The oldest's time, but not before the last look where it was not there then."""
        came_since = self._oldest is None or (oldest is not None and oldest < self._oldest)
        if oldest is not None and came_since and last_look is not None:
            self._not_before = last_look
        self._oldest = oldest
        return None if oldest is None else max(oldest, self._not_before)


class Condition:
    """Looks at the agent from time to time, and keeps what is wrong; safe to share between threads."""

    def __init__(
        self,
        worklist: Worklist,
        destinations: Sequence[str],
        clock: Clock,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.checks: Mapping[str, Callable[[], None]] = {}  # readiness, where the process has more than the database
        self._worklist = worklist
        self._clock = clock
        self._seconds = seconds
        self._studies = _Waiting()
        self._results = {name: _Waiting() for name in destinations}
        self._failing: dict[str, datetime] = {}  # a part that is not ready: since when
        self._last_look: datetime | None = None
        self._found: tuple[Trouble, ...] = ()

    def troubles(self) -> Sequence[Trouble]:
        """What is wrong, as the last look found it."""
        last = self._last_look
        if last is None or self._clock() - last < _SILENT:
            return self._found
        what, means = _NOT_READY["database"]
        return (Trouble(what, last, means),)

    def step(self) -> bool:
        """Look once; there is never more to do at once."""
        now, began = self._clock(), self._seconds()
        problems = _problems(self.checks)
        waiting: list[Trouble] = []
        try:
            backlog = self._worklist.backlog(now)
            waiting = [*self._studies_behind(backlog, now), *self._results_behind(backlog, now)]
        except WorklistUnavailableError:
            problems.add("database")
        if self._seconds() - began > _SLOW_SECONDS:
            problems.add("database")
        self._failing = {name: self._failing.get(name, now) for name in sorted(problems)}
        lasting = [(name, since) for name, since in self._failing.items() if now - since >= _LASTING]
        self._found = (*(_not_ready(name, since) for name, since in lasting), *waiting)
        self._last_look = now
        return False

    def _studies_behind(self, backlog: Backlog, now: datetime) -> list[Trouble]:
        since = self._studies.since(backlog.since, self._last_look)
        if since is None or now - since <= TOO_LONG:
            return []
        studies = "1 study waits" if backlog.waiting == 1 else f"{backlog.waiting} studies wait"
        what = f"{studies} to be scored" + ("." if backlog.held else ", and no worker takes them up.")
        return [Trouble(what, since, f"Raises may be missing. {_ORDER}")]

    def _results_behind(self, backlog: Backlog, now: datetime) -> list[Trouble]:
        found = []
        for name, waiting in self._results.items():
            pending = backlog.pending.get(name)
            since = waiting.since(pending.since if pending else None, self._last_look)
            if since is not None and now - since > TOO_LONG and self._worklist.trouble_at(name) is not None:
                means = f"This list is right; the one at {name} may lack raises and reports."
                found.append(Trouble(f"Results do not reach {name}.", since, means))
        return found


def _not_ready(name: str, since: datetime) -> Trouble:
    what, means = _NOT_READY.get(name, _OTHER)
    return Trouble(what, since, means)


def _problems(checks: Mapping[str, Callable[[], None]]) -> set[str]:
    """Names of the parts that are not ready; a start is none: it ends by itself, or the process does."""
    found = set()
    for name, check in dict(checks).items():  # a copy: parts come and go meanwhile
        try:
            check()
        except TriageError:
            found.add(name)
    return found - {"start"}
