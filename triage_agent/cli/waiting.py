"""What `check` says of studies and results that wait."""

from datetime import UTC, datetime

from triage_agent.bootstrap import open_worklist
from triage_agent.cli.ports import Noteworthy
from triage_agent.domain.backlog import Backlog
from triage_agent.settings import Settings
from triage_agent.watching import TOO_LONG
from triage_agent.worklist import migrate


def look_at_backlog(settings: Settings) -> str:
    """Whether studies wait for a worker, and results for a destination.

    Raises:
        Noteworthy: studies have waited for long: there is no worker, or too few.
        WorklistUnavailableError: the database is away.
    """
    if migrate.current(settings.database_url) is None:
        return "nothing waits"
    return told(open_worklist(settings).backlog(datetime.now(UTC)), datetime.now(UTC))


def told(backlog: Backlog, now: datetime) -> str:
    """One line about what waits.

    Raises:
        Noteworthy: see `look_at_backlog`.
    """
    parts = [
        f"{_number(waits.number, 'result')} for {name}, the oldest for {_time((now - waits.since).total_seconds())}"
        for name, waits in sorted(backlog.pending.items())
    ]
    if backlog.waiting:
        seconds = backlog.waits_for(now).total_seconds()
        parts.insert(0, f"{_number(backlog.waiting, 'study')} for a worker, the longest for {_time(seconds)}")
    says = f"waiting: {'; '.join(parts)}" if parts else "nothing waits"
    if backlog.waits_for(now) <= TOO_LONG:
        return says
    if backlog.held:
        raise Noteworthy(f"{says} (workers have {backlog.held})", remedy="they are behind: start another worker")
    raise Noteworthy(
        f"{says}, and no worker has one", remedy="`triage-agent serve`, with --role worker beside listeners"
    )


def _number(number: int, word: str) -> str:
    plural = {"study": "studies"}.get(word, f"{word}s")
    return f"{number} {word if number == 1 else plural}"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
