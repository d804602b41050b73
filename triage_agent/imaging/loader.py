"""Who reads stored files for the pipeline: the port, and the reader that needs no other process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from triage_agent.domain.errors import DecoderUnavailableError, UnreadableImageError
from triage_agent.imaging.load import load_for_scoring, read_headers

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset

    from triage_agent.imaging.load import Displayable, Loaded, Skipped

log = structlog.get_logger(__name__)


class Loader(Protocol):
    """Reads stored Part 10 files; may be used by several threads."""

    def load(self, path: Path, *, secondary_captures: bool = False) -> Loaded:
        """As `load_for_scoring`.

        Raises:
            UnreadableImageError: the file should be scored and cannot; the message is for people.
            DecoderUnavailableError: nothing can be read at the moment, which is no file's fault.
        """

    def header(self, path: Path) -> Dataset:
        """As `read_headers`; raises like `load`."""


class DirectLoader:
    """Reads in this process: for files that one made oneself."""

    def load(self, path: Path, *, secondary_captures: bool = False) -> Loaded:
        """See `Loader.load`."""
        return load_for_scoring(path, secondary_captures=secondary_captures)

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`."""
        return read_headers(path)


def load_instance(
    loader: Loader, path: Path, *, secondary_captures: bool = False
) -> Displayable | Skipped | UnreadableImageError:
    """`Loader.load` with its error as a value, so that one bad image does not stop a batch.

    Raises:
        DecoderUnavailableError: nothing can be read at the moment.
    """
    try:
        return loader.load(path, secondary_captures=secondary_captures)
    except UnreadableImageError as error:
        return error
    except DecoderUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - promise 2: whatever a file does, its study has a reason
        log.error("decode_failed", error=type(error).__name__)  # noqa: TRY400 - values may name a patient
        return UnreadableImageError(f"the image could not be read ({type(error).__name__})")
