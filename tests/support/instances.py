"""Small data sets, encoded as they come over the wire."""

import zlib

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from triage_agent.domain.study import InstanceHeader

DX = "1.2.840.10008.5.1.4.1.1.1.1"
EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = str(DeflatedExplicitVRLittleEndian)


def dx(**values):
    """A DX data set with identifiers of its own; `values` set elements, None removes one."""
    data_set = Dataset()
    data_set.SOPClassUID = DX
    data_set.SOPInstanceUID = generate_uid()
    data_set.Modality = "DX"
    data_set.PatientName = "Doe^Jane"
    data_set.PatientID = "P1"
    data_set.AccessionNumber = "A1"
    data_set.StudyInstanceUID = generate_uid()
    data_set.SeriesInstanceUID = generate_uid()
    for name, value in values.items():
        if value is None:
            delattr(data_set, name)
        else:
            setattr(data_set, name, value)
    return data_set


def encode(data_set, transfer_syntax_uid=EXPLICIT):
    """The data set's bytes, without preamble or file meta information."""
    implicit, little = transfer_syntax_uid == IMPLICIT, transfer_syntax_uid != BIG_ENDIAN
    encoded = DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = implicit, little
    write_dataset(encoded, data_set)
    if transfer_syntax_uid != DEFLATED:
        return encoded.getvalue()
    return deflate(encoded.getvalue())


def deflate(encoded):
    """The bytes as a deflated transfer syntax has them (PS3.5 A.5)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(encoded) + deflater.flush()


def header_of(data_set, transfer_syntax_uid=EXPLICIT):
    """What intake reads from it, as far as tests of the spool need it."""
    return InstanceHeader(
        study_instance_uid=str(data_set.StudyInstanceUID),
        series_instance_uid=str(data_set.SeriesInstanceUID),
        sop_instance_uid=str(data_set.SOPInstanceUID),
        sop_class_uid=str(data_set.SOPClassUID),
        transfer_syntax_uid=transfer_syntax_uid,
    )


def request_for(data_set, transfer_syntax_uid=EXPLICIT):
    """The identifiers that a C-STORE request for it carries."""
    return {
        "transfer_syntax_uid": transfer_syntax_uid,
        "sop_class_uid": str(data_set.SOPClassUID),
        "sop_instance_uid": str(data_set.SOPInstanceUID),
    }


def write_part10(path, data_set, transfer_syntax_uid=EXPLICIT):
    """A file that senders take; returns its path."""
    path.write_bytes(part10(data_set, transfer_syntax_uid))
    return path


def part10(data_set, transfer_syntax_uid=EXPLICIT):
    """The bytes of a file that senders take."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = "1.2.3"
    encoded = DicomBytesIO()
    write_file_meta_info(encoded, meta)
    return b"\0" * 128 + b"DICM" + encoded.getvalue() + encode(data_set, transfer_syntax_uid)
