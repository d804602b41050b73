"""Where the spool is, by the settings: a folder of this machine, or an object store, whose packages are an extra."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from triage_agent.domain.ports import Clock, Worklist
from triage_agent.settings import Settings

if TYPE_CHECKING:
    from triage_agent.delivery.answering import IsKept
    from triage_agent.imaging.loader import Loader
    from triage_agent.intake.belonging import Belonging, Home
    from triage_agent.intake.keeper import Keeper
    from triage_agent.intake.retention import Originals
    from triage_agent.labelled.export import Opened
    from triage_agent.ops.metrics import Metrics
    from triage_agent.worker import Loop
    from triage_agent.worklist.held import Reachable


def build_spool(settings: Settings, *, holds: bool = True) -> "Keeper":
    """Where received instances are kept; `holds`: what an object store cannot take may be kept for it, if a site wants.

    Raises:
        ConfigurationError: the packages for an object store are not installed.
    """
    if settings.spool.url:
        from triage_agent.object_store import build_object_spool

        return build_object_spool(settings, holds=holds)
    from triage_agent.intake.spool import Spool

    # Replicas on Postgres may have a share together; retention, which removes folders, is one process of several.
    shared = settings.dicom.processes > 1 or not settings.database_url.startswith("sqlite")
    return Spool(settings.data_dir / "spool", settings.storage.low_water_percent, shared=shared)


def spool_folder(settings: Settings) -> Path:
    """The folder in which readers are told that the spool's files are; of an object store it has copies."""
    if settings.spool.url:
        from triage_agent.object_store import cache_of

        return cache_of(settings)
    return settings.data_dir / "spool"


def receiving_folder(settings: Settings) -> Path:
    """The folder of this machine whose disk what is received needs."""
    if settings.spool.url:
        from triage_agent.object_store import write_ahead_of

        return write_ahead_of(settings)
    return settings.data_dir / "spool"


def reading(settings: Settings, loader: "Loader") -> "Loader":
    """A loader of the spool's files, by one of this machine's files."""
    if settings.spool.url:
        from triage_agent.object_store import ObjectLoader, build_files

        return ObjectLoader(loader, build_files(settings))
    return loader


def spool_home(settings: Settings) -> "Path | Home":
    """Where the spool has its id."""
    if settings.spool.url:
        from triage_agent.object_store import build_home

        return build_home(settings)
    return settings.data_dir / "spool"


def build_belonging(settings: Settings, worklist: Worklist) -> "Belonging":
    """Whether the spool and the database are each other's; asked before the spool is made."""
    from triage_agent.intake.belonging import Belonging

    return Belonging(spool_home(settings), worklist)


def originals(settings: Settings) -> "Path | Originals":
    """Where retention deletes."""
    if settings.spool.url:
        from triage_agent.object_store import build_object_spool

        return build_object_spool(settings, holds=False)
    return settings.data_dir / "spool"


def reachable(settings: Settings) -> "Reachable | None":
    """Which instances this machine may claim; None: all."""
    if settings.spool.url:
        from triage_agent.object_store import build_reachable

        return build_reachable(settings)
    return None


def kept(settings: Settings) -> "IsKept":
    """What looks whether an instance is still as it came."""
    if settings.spool.url:
        from triage_agent.object_store import build_kept

        return build_kept(settings)
    from triage_agent.intake.keeping import is_kept

    return partial(is_kept, settings.data_dir / "spool")


def settle_spool(
    settings: Settings, spool: "Keeper", worklist: Worklist, metrics: "Metrics", clock: Clock
) -> "Loop | None":
    """Bring spool and worklist to agree before anything is received; the loop that uploads, where there is one.

    Raises:
        TriageError: the spool or the worklist is away.
    """
    from triage_agent.intake.reconcile import reconcile

    def walk() -> None:
        reconcile(spool, worklist, settings.study.rule(), clock, words=settings.study.priority_words.words())

    if not settings.spool.url:
        walk()
        return None
    from triage_agent.object_store import begin_uploads

    return begin_uploads(settings, worklist, metrics, clock, walk)


def opened(settings: Settings) -> "Opened":
    """What gives a file of what is kept, by its path in the spool."""
    if settings.spool.url:
        from triage_agent.object_store import build_files

        return build_files(settings).opened
    root = settings.data_dir / "spool"
    return lambda path: nullcontext(root / path)
