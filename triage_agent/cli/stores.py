"""What `check`, `db backup` and `db restore` do about a spool that is an object store."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from triage_agent.cli.options import counted
from triage_agent.cli.ports import Noteworthy
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.intake.archive import Copied, copy_spool
from triage_agent.settings import Settings

_LONG_HELD = 300.0  # seconds; the store takes what waits within seconds


def looks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """The parts that `check` looks at."""
    if settings.spool.url:
        yield "object store", lambda: look_at_store(settings)
        yield "write-ahead", lambda: look_at_write_ahead(settings)


def look_at_store(settings: Settings) -> str:
    """Put an object, read it and delete it, as `serve` would.

    Raises:
        TriageError: that does not work; `Noteworthy` where it does, over a network without TLS.
    """
    from triage_agent.object_store import build_store

    store, key = build_store(settings), f".check/{uuid.uuid4().hex}"
    written = uuid.uuid4().bytes
    started = time.perf_counter()
    store.put(key, memoryview(written))
    with tempfile.TemporaryDirectory() as folder:
        store.fetch(key, Path(folder) / "object")
        same = (Path(folder) / "object").read_bytes() == written
    store.delete([key])
    if not same:
        raise TriageError(f"{settings.spool.url} returns other bytes than those that were put", remedy="mend the store")
    said = f"{settings.spool.url} keeps, returns and deletes ({time.perf_counter() - started:.2f} s)"
    if settings.spool.is_plain:
        raise Noteworthy(f"{said}; images go there unencrypted", remedy="use an https endpoint")
    return said


def look_at_write_ahead(settings: Settings) -> str:
    """What waits on this machine.

    Raises:
        Noteworthy: something has waited for minutes.
    """
    from triage_agent.intake.objects.ahead import held_in
    from triage_agent.object_store import write_ahead_of

    folder = write_ahead_of(settings)
    since = [held.since for held in held_in(folder)]
    waits = (datetime.now(UTC) - min(since)).total_seconds() if since else 0.0
    means = "acknowledged" if settings.spool.acknowledge_when_away else "refused (0xA700)"
    said = f"{counted(len(since), 'file')} in {folder} for the store; what it cannot take is {means}"
    if waits > _LONG_HELD:
        raise Noteworthy(f"{said}; the first has waited {waits / 60:.0f} minutes", remedy="is the store away?")
    return said


def copied_out(settings: Settings, target: Path, *, link: bool) -> Copied:
    """Copy the spool, and what waits for it on this machine, into a folder.

    Raises:
        ConfigurationError: hard links are asked for.
    """
    from triage_agent.intake.objects.copying import copy_out
    from triage_agent.object_store import build_store, write_ahead_of

    if link:
        raise ConfigurationError("--link: the spool is an object store", remedy="leave it out, or copy the bucket")
    waiting = copy_spool(write_ahead_of(settings), target)
    done = copy_out(build_store(settings), target)  # after it: what is uploaded meanwhile is in one of them
    return Copied(new=waiting.new + done.new, there=waiting.there + done.there)


def copied_in(settings: Settings, source: Path) -> Copied:
    """Put a backup's files into the store."""
    from triage_agent.intake.objects.copying import copy_in
    from triage_agent.object_store import build_store

    return copy_in(source, build_store(settings))


def is_empty(settings: Settings) -> bool:
    """Whether nothing is kept in the store, nor waits for it here."""
    from triage_agent.intake.objects.ahead import held_in
    from triage_agent.object_store import build_home, write_ahead_of

    return not build_home(settings).has_files() and not any(held_in(write_ahead_of(settings)))
