"""Wires the spool from the settings where it is an object store; without `[spool] url` nothing here is used."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from pydicom import Dataset

from triage_agent.domain.errors import DecoderUnavailableError, MissingPackageError, UnreadableImageError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.imaging.load import Loaded
from triage_agent.imaging.loader import Loader
from triage_agent.intake.objects.ahead import WriteAhead, name_of
from triage_agent.intake.objects.cache import Cache, DamagedError
from triage_agent.intake.objects.files import Files
from triage_agent.intake.objects.home import ObjectHome
from triage_agent.intake.objects.keeping import ObjectsKept
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import ObjectStore, StoreAwayError
from triage_agent.intake.objects.spool import ObjectSpool
from triage_agent.intake.objects.uploading import Uploader
from triage_agent.intake.reconcile import adopt
from triage_agent.ops.gauges import ObjectStoreGauges
from triage_agent.ops.metrics import Metrics
from triage_agent.sections.spool import SpoolSettings
from triage_agent.settings import Settings
from triage_agent.worker import Loop
from triage_agent.worklist.held import Reachable

_LOOK_SECONDS = 1.0  # between two looks at what waits


def write_ahead_of(settings: Settings) -> Path:
    """The folder of what waits on this machine."""
    return settings.spool.write_ahead or settings.data_dir / "write-ahead"


def cache_of(settings: Settings) -> Path:
    """The folder of what was read; paths of the spool are files of it for readers."""
    return settings.spool.cache or settings.data_dir / "cache"


def build_store(settings: Settings) -> ObjectStore:
    """The bucket; nothing is asked yet.

    Raises:
        ConfigurationError: the packages for it are not installed.
    """
    return _store(settings.spool)


def build_files(settings: Settings) -> Files:
    """What reads the store, one for all that read in this process; makes the cache's folder.

    Raises:
        ConfigurationError: the packages for it are not installed.
        OSError: the disk refuses.
    """
    return _files(settings.spool, cache_of(settings), write_ahead_of(settings))


def build_object_spool(settings: Settings, *, holds: bool = True) -> ObjectSpool:
    """The spool; `holds` is False for who can have what it brings brought again, and keeps nothing for the store."""
    ahead = WriteAhead(write_ahead_of(settings), settings.storage.low_water_percent)
    acknowledges = holds and settings.spool.acknowledge_when_away
    return ObjectSpool(build_files(settings), ahead, acknowledge_when_away=acknowledges)


def build_home(settings: Settings) -> ObjectHome:
    """Whose the store is."""
    repeated = write_ahead_of(settings) if settings.spool.acknowledge_when_away else None
    return ObjectHome(build_store(settings), settings.spool.url, repeated)


def build_reachable(settings: Settings) -> Reachable:
    """Which of what waits this machine can read."""
    ahead = write_ahead_of(settings)
    return Reachable(machine=lambda: name_of(ahead), longest=timedelta(hours=settings.spool.held_hours))


def build_kept(settings: Settings) -> ObjectsKept:
    """Whether an instance is kept, for who is asked to commit to it."""
    return ObjectsKept(build_files(settings), write_ahead_of(settings))


def begin_uploads(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock, walk: Callable[[], None]
) -> Loop:
    """Bring spool and worklist to agree, now or when the store is back; the loop that uploads, not started yet."""
    spool, rule = build_object_spool(settings), settings.study.rule()
    words = settings.study.priority_words.words()

    def adopted(key: str, received_at: datetime) -> str:
        return adopt(spool, worklist, rule, clock, key, received_at=received_at, words=words)

    uploader = Uploader(spool, worklist, clock, adopt=adopted, walk=walk)
    metrics.add(ObjectStoreGauges(lambda: not spool.reach.away, lambda: uploader.waiting))
    uploader.begin()
    return Loop("upload", uploader.step, idle_seconds=_LOOK_SECONDS)


class ObjectLoader:
    """See `Loader`: fetches a file before another loader reads it."""

    def __init__(self, loader: Loader, files: Files) -> None:
        self._loader = loader
        self._files = files

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """See `Loader.load`; `path` is one of the spool, in the folder of copies."""
        with self._file(path) as file:
            return self._loader.load(file, secondary_captures=secondary_captures, side=side)

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`; as `load`."""
        with self._file(path) as file:
            return self._loader.header(file)

    @contextmanager
    def _file(self, path: Path) -> Iterator[Path]:
        """The fetched file.

        Raises:
            DecoderUnavailableError: the store is away, or this disk refuses, which is no file's fault.
            UnreadableImageError: the store is there, and the object is not, or not as it was.
        """
        name = path.relative_to(self._files.cache.root).as_posix()
        with ExitStack() as stack:
            try:
                file = stack.enter_context(self._files.opened(name))
            except StoreAwayError as error:
                raise DecoderUnavailableError(error.message, remedy=error.remedy) from error
            except FileNotFoundError as error:
                raise UnreadableImageError(_missing(name)) from error
            except DamagedError as error:
                raise UnreadableImageError("the object store has other bytes than those that came") from error
            except OSError as error:
                said = f"the folder of copies cannot be written ({error.strerror or type(error).__name__})"
                raise DecoderUnavailableError(said, remedy="see [spool] cache") from error
            yield file


def _missing(name: str) -> str:
    if split_path(name)[0] is not None:
        return "the file still waits on the machine that received it, for the object store"
    return "the object store has no such object"


@lru_cache(maxsize=4)
def _store(spool: SpoolSettings) -> ObjectStore:
    try:
        from triage_agent.intake.objects.s3 import Access, S3Store  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "s3fs", extra="s3") from None
    return S3Store(
        Access(
            bucket=spool.bucket,
            prefix=spool.prefix,
            endpoint=spool.endpoint,
            region=spool.region,
            key=spool.access_key,
            secret=spool.secret_key,
            token=spool.session_token,
            ca=spool.ca,
            seconds=spool.timeout_seconds,
        )
    )


@lru_cache(maxsize=4)
def _files(spool: SpoolSettings, cache: Path, ahead: Path) -> Files:
    return Files(_store(spool), Cache(cache, spool.cache_mb << 20), ahead)
