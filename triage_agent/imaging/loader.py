"""Who reads stored files for the pipeline: the port, and the reader that needs no other process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import structlog

from triage_agent.domain.errors import DecoderUnavailableError, UnreadableImageError
from triage_agent.imaging.load import load_for_scoring, read_headers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom import Dataset

    from triage_agent.imaging.load import Displayable, Loaded, Skipped

log = structlog.get_logger(__name__)


class Loader(Protocol):
    """Reads stored Part 10 files; may be used by several threads."""

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """As `load_for_scoring`.

        Raises:
            UnreadableImageError: the file should be scored and cannot; the message is for people.
            DecoderUnavailableError: nothing can be read at the moment, which is no file's fault.
        """

    def header(self, path: Path) -> Dataset:
        """As `read_headers`; raises like `load`."""


class DirectLoader:
    """Reads in this process: for files that one made oneself."""

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """See `Loader.load`."""
        return load_for_scoring(path, secondary_captures=secondary_captures, side=side)

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`."""
        return read_headers(path)


class SpoolLoader:
    """Another loader's files in a folder that can be away for a while: a share, a disk that is mounted late."""

    def __init__(self, loader: Loader, root: Path) -> None:
        """`root`: the folder below which every file is read, some of them in folders of it."""
        self._loader = loader
        self._root = root

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """See `Loader.load`."""
        with self._unless_away(path):
            return self._loader.load(path, secondary_captures=secondary_captures, side=side)

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`."""
        with self._unless_away(path):
            return self._loader.header(path)

    @contextmanager
    def _unless_away(self, path: Path) -> Iterator[None]:
        """What fails while the folder cannot be listed is no file's fault; a file that alone is gone stays its own.

        The folder directly below the root is looked at, too: the place where a disk was mounted stays when it goes.

        Raises:
            DecoderUnavailableError: the folder is away.
        """
        try:
            yield
        except DecoderUnavailableError:
            raise
        except Exception as error:
            folder = self._root.joinpath(*path.relative_to(self._root).parts[:-1][:1])
            try:
                with os.scandir(folder) as entries:
                    next(entries, None)
            except OSError as away:
                message = f"the spool's folder {folder} cannot be read ({type(away).__name__})"
                raise DecoderUnavailableError(message, remedy="is its disk or share mounted?") from error
            raise


def load_instance(
    loader: Loader, path: Path, *, secondary_captures: bool = False, side: int | None = None
) -> Displayable | Skipped | UnreadableImageError:
    """`Loader.load` with its error as a value, so that one bad image does not stop a batch.

    Raises:
        DecoderUnavailableError: nothing can be read at the moment.
    """
    try:
        return loader.load(path, secondary_captures=secondary_captures, side=side)
    except UnreadableImageError as error:
        return error
    except DecoderUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - promise 2: whatever a file does, its study has a reason
        log.error("decode_failed", error=type(error).__name__)  # noqa: TRY400 - values may name a patient
        return UnreadableImageError(f"the image could not be read ({type(error).__name__})")
