"""Parsing Part 10 files, also damaged ones, in bounded memory."""

from __future__ import annotations

import os
import zlib
from io import BufferedReader, BytesIO, FileIO
from typing import TYPE_CHECKING, BinaryIO

import pydicom
from pydicom import uid
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_partial, read_preamble

from triage_agent.domain.errors import UnreadableImageError
from triage_agent.imaging.tags import text, unreadable_on_failure

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset
    from pydicom.tag import BaseTag

MAX_INFLATED = 1 << 30  # bytes of a deflated data set
_META_GROUP = 2
_PIXEL_DATA_GROUP = 0x7FE0


def read_part10(source: Path | bytes) -> Dataset:
    """Parse a Part 10 file (PS3.10 section 7), with its pixel data, from a file's path or its content.

    Raises:
        UnreadableImageError: it is no DICOM file, cannot be read, or does not parse.
    """
    with unreadable_on_failure("the file is damaged or truncated"):
        _look_ahead(source)
        with _open(source) as stream:
            return pydicom.dcmread(stream)


def read_header(source: Path | bytes) -> Dataset:
    """Parse a Part 10 file up to its pixel data, or up to the first element that is broken.

    Raises:
        UnreadableImageError: it is no DICOM file, cannot be read, or is broken from its first element on.
    """
    seen: list[BaseTag] = []

    def at_pixel_data(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        seen.append(tag)
        return tag.group >= _PIXEL_DATA_GROUP

    with unreadable_on_failure("not a readable DICOM file"):
        _look_ahead(source)
        try:
            with _open(source) as stream:
                return read_partial(stream, at_pixel_data)
        except Exception:
            if len(seen) < 2:  # noqa: PLR2004 - the first tag alone leaves nothing to read
                raise
        broken = seen[-1]
        with _open(source) as stream:
            return read_partial(stream, lambda tag, _vr, _length: tag == broken)


class _BoundedFile(BufferedReader):
    """A file of which no more is asked than it has: a length of 4 GB in a damaged element would be allocated first."""

    def __init__(self, path: Path) -> None:
        file = FileIO(path)
        self._size = os.fstat(file.fileno()).st_size
        super().__init__(file)

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, and at most what is left."""
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _open(source: Path | bytes) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else _BoundedFile(source)


def _look_ahead(source: Path | bytes) -> None:
    """Refuse what has no DICM prefix, and deflated data sets that are truncated or inflate beyond reason.

    These are inflated in pieces and counted, since pydicom inflates in one go.
    """
    with _open(source) as stream:
        try:
            read_preamble(stream, force=False)
        except InvalidDicomError:
            raise UnreadableImageError("not a DICOM file: it lacks the DICM prefix") from None
        meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != _META_GROUP)  # noqa: FBT003
        if text(meta, "TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
            return
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        size = 0
        while chunk := inflater.unconsumed_tail or stream.read(1 << 20):
            size += len(inflater.decompress(chunk, 1 << 24))
            if size > MAX_INFLATED:
                raise UnreadableImageError("the deflated data set inflates beyond reason")
        inflater.flush()  # what a full output buffer held back
        if not inflater.eof:
            raise UnreadableImageError("the deflated data set is truncated")
