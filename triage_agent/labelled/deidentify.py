"""One image without anybody's identity, by the table in `profile`."""

import hashlib
import hmac
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, FileDataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from triage_agent.domain.quiet import quiet
from triage_agent.domain.sop_classes import RADIOGRAPHS
from triage_agent.labelled.profile import ACTIONS, BINARY, CODE, IN_ITEMS, METHOD, SCHEMES, TERMS, WRITTEN, Action

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SECONDARY_CAPTURES = frozenset({_CAPTURE, *(f"{_CAPTURE}.{kind}" for kind in range(1, 5))})
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_LARGEST_FILE = 512 << 20
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


class RefusedError(Exception):
    """An image that does not leave, and why."""


class Secret:
    """What makes the names of one export: whoever has it can make them again, and nobody else."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def uid(self, uid: str) -> str:
        """Another UID, the same for the same (PS3.5 section B.2)."""
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def name(self, kind: str, value: str) -> str:
        """A pseudonym, such as "patient-9f86d081884c7d65"."""
        return f"{kind}-{self._digest(kind, value)[:8].hex()}"

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{kind}\0{value}".encode(), hashlib.sha256)


def deidentified(file: Path, patient: str, secret: Secret) -> FileDataset:
    """The image in a file, to be saved under another name; `patient` is a pseudonym.

    Raises:
        RefusedError: it is no radiograph, may show who it is of, or cannot be read.
    """
    try:
        with quiet():
            _refuse_size(file)
            _refuse_deflated(file)
            source = dcmread(file)
            _refuse(source)
            return _without_identity(source, patient, secret)
    except RefusedError:
        raise
    except Exception as error:  # what a stranger wrote may fail in any way, and costs only its own image
        raise RefusedError(f"it cannot be read ({type(error).__name__})") from error


def _refuse_size(file: Path) -> None:
    if file.stat().st_size > _LARGEST_FILE:
        raise RefusedError("it is too large")


def _refuse_deflated(file: Path) -> None:
    """What is inflated as a whole may be a thousand times larger than its file."""
    if read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise RefusedError("it is deflated as a whole")


def _refuse(source: FileDataset) -> None:
    kind = str(source.get("SOPClassUID", ""))
    captured = kind in _SECONDARY_CAPTURES
    if not captured and kind not in RADIOGRAPHS | {_FOR_PROCESSING}:
        raise RefusedError("it is no radiograph")
    burned = str(source.get("BurnedInAnnotation", "")).strip().upper()
    if burned == "YES":
        raise RefusedError("it says that text is burned into it (0028,0301)")
    if captured and burned != "NO":
        raise RefusedError("it is a secondary capture and does not say that no text is burned into it (0028,0301)")
    if any(_is_in_pixels(source, group) for group in _OVERLAY_GROUPS):
        raise RefusedError("an overlay is written into its pixels (60xx,0102)")
    if "PixelData" not in source:
        raise RefusedError("it has no pixels")


def _is_in_pixels(source: Dataset, group: int) -> bool:
    """An overlay without data of its own stands in unused bits of the pixels (PS3.3 section C.9.2, retired)."""
    described = any((group, element) in source for element in (0x0010, 0x0100, 0x0102))
    return described and (group, 0x3000) not in source


def _without_identity(source: FileDataset, patient: str, secret: Secret) -> FileDataset:
    made = Dataset()
    for keyword, action in ACTIONS.items():
        if action is Action.PSEUDONYM:
            setattr(made, keyword, patient)
        elif action is Action.EMPTY:
            setattr(made, keyword, [] if keyword.endswith("Sequence") else "")
        elif keyword in source:
            _put(made, keyword, action, source[keyword], secret)
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = METHOD
    made.DeidentificationMethodCodeSequence = [_code("113100", "DCM", "Basic Application Confidentiality Profile")]
    made.LongitudinalTemporalInformationModified = "REMOVED"
    return _as_file(source, made)


def _put(made: Dataset, keyword: str, action: Action, element: DataElement, secret: Secret) -> None:
    if action is Action.REPLACE_UID:
        setattr(made, keyword, secret.uid(str(element.value)))
    elif action is Action.CODES:
        setattr(made, keyword, Sequence(_codes(element.value)))
    elif action is Action.ITEMS:
        setattr(made, keyword, Sequence(_numbers(item) for item in element.value))
    elif _is_harmless(element) or (action is Action.TERM and str(element.value) in TERMS):
        made.add(element)


def _is_harmless(element: DataElement) -> bool:
    """Numbers are, coded words that look like such, and the SOP Class UID, which is one of those that are admitted."""
    if not _is_of_its_kind(element):
        return False
    if element.VR in BINARY or element.keyword == "SOPClassUID":
        return True
    form = WRITTEN.get(element.VR)  # pydicom passes on whatever stands there
    return form is not None and all(form.fullmatch(str(one)) for one in _values(element.value))


def _is_of_its_kind(element: DataElement) -> bool:
    """Whether its VR is the dictionary's: a file can call a text a number."""
    return element.VR in dictionary_VR(element.tag).split(" or ")


def _values(value: Any) -> list[Any]:
    """One by one; an element without a value has none."""
    if value is None or isinstance(value, str | float | int | Decimal):
        return [] if value is None else [value]
    return list(value)


def _codes(items: Sequence) -> list[Dataset]:
    """Without their meanings, which are free text: whoever knows the scheme knows them."""
    found = [(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", ""))) for item in items]
    return [_code(value, scheme, value) for value, scheme in found if scheme in SCHEMES and CODE.fullmatch(value)]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _numbers(item: Dataset) -> Dataset:
    made = Dataset()
    for keyword in IN_ITEMS:
        if keyword in item and _is_of_its_kind(item[keyword]):
            made.add(item[keyword])
    return made


def _as_file(source: FileDataset, made: Dataset) -> FileDataset:
    """With a header that says nothing of who sent or made the file; the pixels stay in their transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = UID(source.file_meta.TransferSyntaxUID)
    implicit, little = meta.TransferSyntaxUID.is_implicit_VR, meta.TransferSyntaxUID.is_little_endian
    return FileDataset("", made, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=implicit, is_little_endian=little)
