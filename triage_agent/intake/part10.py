"""The Part 10 wrapping of a received data set: written in front of the bytes as they came, and read back."""

from dataclasses import dataclass

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from triage_agent import __version__
from triage_agent.domain.uids import IMPLEMENTATION_CLASS_UID
from triage_agent.intake.elements import Encoding, elements

_PREAMBLE = b"\0" * 128 + b"DICM"
_EXPLICIT_LITTLE = Encoding(implicit=False, little_endian=True)
_SOP_CLASS_UID = 0x00020002
_SOP_INSTANCE_UID = 0x00020003
_TRANSFER_SYNTAX_UID = 0x00020010
_SOURCE_AE_TITLE = 0x00020016
_LAST_OF_META = 0x0002FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """What the file meta information says, and where the data set begins."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source: str
    data_set_offset: int


def encode_preamble(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 section 7.1) for a data set from `source`; valid UIDs only."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"TRIAGE_{__version__}"[:16]
    meta.SourceApplicationEntityTitle = _ae_title(source)
    encoded = DicomBytesIO()
    write_file_meta_info(encoded, meta, enforce_standard=True)
    return _PREAMBLE + encoded.getvalue()


def decode_preamble(start: memoryview) -> FileMeta | None:
    """The file meta information at a file's start, None when it is not there or lacks a UID."""
    if bytes(start[128:132]) != b"DICM":
        return None
    found: dict[int, str] = {}
    offset = len(_PREAMBLE)
    for element in elements(start, _EXPLICIT_LITTLE, len(_PREAMBLE)):
        if element.tag > _LAST_OF_META:
            break
        found[element.tag] = bytes(element.value).decode("ascii", "replace").strip("\0 ")
        offset = element.end
    needed = [found.get(tag, "") for tag in (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID)]
    if not all(needed):
        return None
    return FileMeta(
        sop_class_uid=needed[0],
        sop_instance_uid=needed[1],
        transfer_syntax_uid=needed[2],
        source=found.get(_SOURCE_AE_TITLE, ""),
        data_set_offset=offset,
    )


def _ae_title(source: str) -> str:
    """`source` as an AE value may hold it (PS3.5 section 6.2): 16 characters of printable ASCII."""
    return "".join(char for char in source if " " <= char <= "~" and char != "\\")[:16].strip()
