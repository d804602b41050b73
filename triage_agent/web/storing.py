"""A STOW-RS request while it comes: parts to data sets, data sets to the spool, a reason for each (PS3.18 10.5).

Nothing of an instance is in memory but its file meta information, and what comes in one piece. An instance is named as
stored only when it is as durable as one that was acknowledged over DIMSE.
"""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Registered
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.uids import is_uid
from triage_agent.intake.header import read_header
from triage_agent.intake.incoming import Incoming
from triage_agent.intake.part10 import FileMeta, decode_preamble
from triage_agent.intake.receiver import Received

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

log = structlog.get_logger(__name__)

OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
COERCED = 0xB000

# The parser warns of what a stranger sends, piece by piece; a logger of its own, so that no configuration changes that.
_SILENT = logging.Logger("multipart", logging.CRITICAL)  # noqa: LOG001 - as above
_MOST_PARTS = 10_000
_LONGEST_META = 1 << 16  # bytes of preamble and file meta information; they have some hundreds
_GROUP_LENGTH = bytes.fromhex("02000000") + b"UL" + bytes.fromhex("0400")  # (0002,0000), which comes first
_META_BEGINS = 132
_LENGTH_ENDS = _META_BEGINS + len(_GROUP_LENGTH) + 4


class Begin(Protocol):
    """Makes room for a data set that is about to come; see `Receiver.begin`."""

    def __call__(self, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, source: str) -> Incoming:
        """Raises nothing: what cannot be kept is told of once the data set is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way in, the same as for instances that come over DIMSE.

    Attributes:
        receive: returns when an instance can be acknowledged; see `Receiver.keep`.
        answered: told the status of each instance, as a C-STORE's would be; the metrics' side of it.
        warn_on_conflict: whether other bytes of a known instance get a warning.
        largest: bytes of a data set.
        words: the site's for priorities, so that a header that is looked at here is understood as where it is kept.
    """

    begin: Begin
    receive: Callable[[Incoming], Received]
    answered: Callable[[int], None] = lambda _status: None
    warn_on_conflict: bool = False
    largest: int = 2 << 30
    words: PriorityWords = STANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of one part.

    Attributes:
        reason: why it is not stored (Failure Reason); None where it is.
        warning: Warning Reason of one that is.
        sop_class_uid, sop_instance_uid: of its file meta information; empty where they are no UIDs.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    reason: int | None = None
    warning: int | None = None


class BadRequestError(Exception):
    """The body is not what it should be; what was stored before stays."""


@dataclass(slots=True)
class _Part:
    """The part that is coming."""

    headers: dict[str, str] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    start: bytearray = field(default_factory=bytearray)  # until the file meta information is whole
    meta: FileMeta | None = None
    incoming: Incoming | None = None
    too_long: bool = False


class StoreSession:
    """One request; used by one thread at a time, and closed in any case."""

    def __init__(self, door: Door, boundary: bytes, *, source: str, study_instance_uid: str = "") -> None:
        """`study_instance_uid` is the only study whose instances are taken; empty for any.

        Raises:
            BadRequestError: there can be no such boundary.
        """
        self.kept: list[Kept] = []
        self._door = door
        self._source = source
        self._study_instance_uid = study_instance_uid
        self._part: _Part | None = None
        self._ended = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks(), max_header_count=16, max_header_size=4096)
        except FormParserError:
            raise BadRequestError("the boundary is too long") from None
        self._parser.logger = _SILENT

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BadRequestError: they cannot be what comes next.
        """
        try:
            self._parser.write(piece)
        except FormParserError:
            raise BadRequestError("the body is not multipart as its boundary says") from None

    def finish(self) -> None:
        """The body has ended.

        Raises:
            BadRequestError: it should not have.
        """
        if not self._ended:
            raise BadRequestError("the body ends before its last boundary")

    def close(self) -> None:
        """Let go of what did not come whole."""
        part, self._part = self._part, None
        if part is not None and part.incoming is not None:
            part.incoming.close()

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": lambda data, start, end: self._on_part.name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._on_part.value.extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    @property
    def _on_part(self) -> _Part:
        if self._part is None:
            raise BadRequestError("something comes where no part is")
        return self._part

    def _on_part_begin(self) -> None:
        if len(self.kept) >= _MOST_PARTS:
            raise BadRequestError(f"more than {_MOST_PARTS} instances in one request")
        self._part = _Part()

    def _on_header_end(self) -> None:
        part = self._on_part
        part.headers[part.name.decode("latin-1").lower()] = part.value.decode("latin-1")
        part.name.clear()
        part.value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part, piece = self._on_part, memoryview(data)[start:end]
        if part.incoming is not None:
            self._write(part, part.incoming, piece)
            return
        part.start += piece
        needed = _meta_ends(part.start)
        if needed is not None and len(part.start) >= needed:
            self._begin(part)

    def _begin(self, part: _Part) -> None:
        """The file meta information is here, or there is none: what follows is the data set."""
        start = bytes(part.start)
        part.meta = decode_preamble(memoryview(start))
        meta, offset = part.meta, part.meta.data_set_offset if part.meta else 0
        part.incoming = self._door.begin(
            transfer_syntax_uid=meta.transfer_syntax_uid if meta else "",
            sop_class_uid=meta.sop_class_uid if meta else "",
            sop_instance_uid=meta.sop_instance_uid if meta else "",
            source=self._source,
        )
        part.start.clear()
        self._write(part, part.incoming, memoryview(start)[offset:])

    def _write(self, part: _Part, incoming: Incoming, piece: memoryview) -> None:
        part.too_long = part.too_long or incoming.size + len(piece) > self._door.largest
        if not part.too_long:
            incoming.write(piece)

    def _on_part_end(self) -> None:
        part = self._on_part
        if part.incoming is None:
            self._begin(part)
        incoming = part.incoming
        if incoming is None:  # `_begin` makes one
            return
        try:
            self.kept.append(self._stored(part, incoming))
        finally:
            self.close()

    def _on_end(self) -> None:
        self._ended = True

    def _stored(self, part: _Part, incoming: Incoming) -> Kept:
        named = [part.meta.sop_class_uid, part.meta.sop_instance_uid] if part.meta else ["", ""]
        sop_class_uid, sop_instance_uid = (uid if is_uid(uid) else "" for uid in named)
        with structlog.contextvars.bound_contextvars(caller=self._source, sop_instance_uid=sop_instance_uid):
            reason, warning = self._keep(part, incoming)
        self._door.answered(reason or warning or 0)
        return Kept(sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid, reason=reason, warning=warning)

    def _keep(self, part: _Part, incoming: Incoming) -> tuple[int | None, int | None]:
        """Failure Reason and Warning Reason."""
        kind = part.headers.get("content-type", "application/dicom").partition(";")[0].strip().lower()
        if kind != "application/dicom":
            return CANNOT_UNDERSTAND, None
        if part.too_long:
            return OUT_OF_RESOURCES, None
        try:
            self._require_study(incoming)
            received = self._door.receive(incoming)
        except InvalidDatasetError as error:
            return _refused(DOES_NOT_MATCH, error.message), None
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            return _refused(OUT_OF_RESOURCES, error.message), None
        except Exception as error:  # noqa: BLE001 - a bug costs one instance its place, not the others
            frames = traceback.extract_tb(error.__traceback__)  # its message may name a patient
            where = f"{frames[-1].filename}:{frames[-1].lineno}"
            log.error("store_failed", error=type(error).__name__, where=where)  # noqa: TRY400 - see above
            return PROCESSING_FAILURE, None
        conflict = received.outcome is Registered.CONFLICT and self._door.warn_on_conflict
        return None, COERCED if conflict else None

    def _require_study(self, incoming: Incoming) -> None:
        """Refuse an instance of another study than the request's; nothing of it is kept, since nobody asked for it."""
        if not self._study_instance_uid:
            return
        request = incoming.request
        header = read_header(
            incoming.view(),
            request.transfer_syntax_uid,
            request.sop_class_uid,
            request.sop_instance_uid,
            words=self._door.words,
        )
        if header.study_instance_uid != self._study_instance_uid:
            raise InvalidDatasetError("the instance is of another study than the request")


def _meta_ends(start: bytearray) -> int | None:
    """How many bytes preamble and file meta information have; None while that is not known."""
    if len(start) < _LENGTH_ENDS:
        return None
    if start[_META_BEGINS : _META_BEGINS + len(_GROUP_LENGTH)] != _GROUP_LENGTH:
        return _LONGEST_META  # it says no length: look at what is here then
    length = int.from_bytes(start[_LENGTH_ENDS - 4 : _LENGTH_ENDS], "little")
    return min(_LENGTH_ENDS + length, _LONGEST_META)


def _refused(reason: int, why: str) -> int:
    log.warning("store_refused", status=f"0x{reason:04X}", why=why)
    return reason
