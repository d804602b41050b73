"""The data sets of storage commitment (PS3.4 tables J.3-1 and J.3-2), made and read.

What is read came from a peer: of bounded size, every UID a UID, or it is refused. Nothing of its text is repeated.
"""

import zlib
from collections.abc import Iterable
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.dsutils import decode

from triage_agent.dimse.nesting import nests_deeper
from triage_agent.domain.commitment import CommitmentReport, FailureReason, Reference
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError
from triage_agent.domain.uids import is_uid

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")  # the one well-known instance (PS3.4 section J.3.5)
REQUEST = 1  # Action Type ID
ALL_COMMITTED, SOME_FAILED = 1, 2  # Event Type IDs

MOST_REFERENCES = 32_768
LARGEST_DATA_SET = 4 << 20  # bytes; ten thousand references have a little more than one million
_LARGEST_SHORT = 1 << 20  # bytes
_ITEM = b"\xfe\xff\x00\xe0"  # the tag of an item, little endian
_DEEPEST = 16  # sequences within one another; what we read has one, and workitems have four
_MOST_ITEMS = 2000  # nested in one another, more would take pydicom seconds


def action_information(transaction_uid: str, references: Iterable[Reference]) -> Dataset:
    """What an N-ACTION asks for."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = Sequence(_item(reference) for reference in references)
    return information


def event_information(report: CommitmentReport) -> Dataset:
    """What an N-EVENT-REPORT says; of the two sequences only those that have items (both are type 1C)."""
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    if report.committed:
        information.ReferencedSOPSequence = Sequence(_item(reference) for reference in report.committed)
    if report.failed:
        failed = [_item(reference) for reference, _ in report.failed]
        for item, (_, reason) in zip(failed, report.failed, strict=True):
            item.FailureReason = reason
        information.FailedSOPSequence = Sequence(failed)
    return information


def event_type(report: CommitmentReport) -> int:
    """The Event Type ID of a report."""
    return SOME_FAILED if report.failed else ALL_COMMITTED


def read_short_data_set(encoded: BytesIO | None, transfer_syntax: UID) -> Dataset:
    """The data set of a request that has no long lists: a query, a workitem; little endian, not deflated.

    Raises:
        InvalidDatasetError: there is none, or it cannot be read.
        StorageExhaustedError: it is longer, or has more items, than we read.
    """
    if encoded is not None:
        content = encoded.getbuffer()
        if content.nbytes > _LARGEST_SHORT or bytes(content).count(_ITEM) > _MOST_ITEMS:
            raise StorageExhaustedError("the data set is too long")
    return read_data_set(encoded, transfer_syntax)


def read_data_set(encoded: BytesIO | None, transfer_syntax: UID) -> Dataset:
    """The data set of a request; a deflated one is inflated no further than a plain one may be long.

    Raises:
        InvalidDatasetError: there is none, or it cannot be read.
        StorageExhaustedError: it is longer, or goes deeper, than we read.
    """
    if encoded is None:
        raise InvalidDatasetError("the request has no data set")
    content = _inflated(encoded) if transfer_syntax.is_deflated else encoded.getvalue()
    if len(content) > LARGEST_DATA_SET:
        raise StorageExhaustedError("the data set is too long")
    if nests_deeper(memoryview(content), transfer_syntax, _DEEPEST):
        raise StorageExhaustedError(f"more than {_DEEPEST} sequences within one another")
    try:
        return decode(BytesIO(content), transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    except Exception as error:
        raise InvalidDatasetError(f"the data set cannot be read ({type(error).__name__})") from error


def _inflated(encoded: BytesIO) -> bytes:
    """At most one byte more than we read (PS3.5 section A.5)."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(encoded.getbuffer(), LARGEST_DATA_SET + 1)
    except zlib.error as error:
        raise InvalidDatasetError("the data set cannot be inflated") from error


def read_request(information: Dataset) -> tuple[str, tuple[Reference, ...]]:
    """Transaction UID and references of an N-ACTION, each object once.

    Raises:
        InvalidDatasetError: one of them is not as PS3.4 table J.3-1 wants it.
        StorageExhaustedError: there are more references than we take.
    """
    references = tuple(dict.fromkeys(_reference(item) for item in _items(information, "ReferencedSOPSequence")))
    if not references:
        raise InvalidDatasetError("no Referenced SOP Sequence")
    return _uid(information, "TransactionUID"), references


def read_report(information: Dataset, event: int | None) -> CommitmentReport:
    """What an N-EVENT-REPORT says.

    A failed item without a reason counts as failed: what else it lacks, it says that it is not kept.

    Raises:
        InvalidDatasetError: it is not as PS3.4 table J.3-2 wants it.
        StorageExhaustedError: there are more references than we take.
    """
    if event not in {ALL_COMMITTED, SOME_FAILED}:
        raise InvalidDatasetError("not an event type of storage commitment")
    failed = tuple((_reference(item), _reason(item)) for item in _items(information, "FailedSOPSequence"))
    return CommitmentReport(
        transaction_uid=_uid(information, "TransactionUID"),
        committed=tuple(_reference(item) for item in _items(information, "ReferencedSOPSequence")),
        failed=failed,
    )


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _items(information: Dataset, keyword: str) -> Sequence:
    found = _value(information, keyword)
    if found is None:
        return Sequence()
    if not isinstance(found, Sequence):
        raise InvalidDatasetError(f"{keyword} is no sequence")
    if len(found) > MOST_REFERENCES:
        raise StorageExhaustedError(f"more than {MOST_REFERENCES} references")
    return found


def _reference(item: Dataset) -> Reference:
    return Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))


def _reason(item: Dataset) -> int:
    reason = _value(item, "FailureReason")
    return reason if isinstance(reason, int) else FailureReason.PROCESSING_FAILURE


def _uid(item: Dataset, keyword: str) -> str:
    tag = Tag(keyword)
    element = item.get_item(tag) if tag in item else None
    # Of an element that pydicom has not converted yet its bytes will do: ten thousand conversions take seconds.
    value = element.value if element is not None else b""
    text = value.decode("ascii", "replace").rstrip("\0 ") if isinstance(value, bytes) else str(value)
    if not is_uid(text):
        raise InvalidDatasetError(f"{keyword} is missing or no UID")
    return text


def _value(item: Dataset, keyword: str) -> object:
    """An element's value; pydicom reads it only now, and may find that it cannot."""
    try:
        return item.get(keyword)
    except Exception as error:
        raise InvalidDatasetError(f"{keyword} cannot be read ({type(error).__name__})") from error
