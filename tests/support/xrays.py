"""Radiographs with pixels and a whole header, ready to be sent, and senders that say how each was answered."""

import threading
import warnings
from collections.abc import Sequence

import numpy as np
from pydicom import DataElement
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.presentation import build_context
from support.instances import DX

_WAIT_SECONDS = 60
_WHITE = 4095


def picture(seed=0, rows=224, columns=192):
    """Something like a bone, uint16 [rows, columns] of 12 bits: a bright shaft, soft tissue around it, some noise."""
    generator = np.random.default_rng(seed)
    across = np.linspace(-1, 1, columns)[None, :]
    along = np.linspace(-1, 1, rows)[:, None]
    centre = generator.uniform(-0.2, 0.2) + generator.uniform(-0.2, 0.2) * along
    shaft = np.exp(-(((across - centre) / generator.uniform(0.15, 0.3)) ** 2) * (1.2 - 0.5 * along**2))
    tissue = np.exp(-((across / 0.8) ** 4))
    grey = 0.25 * tissue + 0.6 * shaft + generator.normal(0, 0.01, (rows, columns)) + 0.05
    return np.clip(grey * _WHITE, 0, _WHITE).astype(np.uint16)


def radiograph(pixels=None, *, study=None, seed=0, body_part="KNEE", **elements):
    """A DX image for presentation, explicit little endian; `elements` set what they name, None removes it."""
    pixels = picture(seed) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=False, is_little_endian=True)
    data_set.SOPClassUID, data_set.SOPInstanceUID = DX, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study or generate_uid(), generate_uid()
    data_set.PatientName, data_set.PatientID = "Test^Patient", "P1"
    data_set.PatientBirthDate, data_set.PatientSex = "19700203", "O"
    data_set.StudyID, data_set.AccessionNumber, data_set.ReferringPhysicianName = "1", "A1", ""
    for moment in ("Study", "Series", "Acquisition", "Content"):
        setattr(data_set, f"{moment}Date", "20260301")
        setattr(data_set, f"{moment}Time", "081500")
    data_set.SeriesNumber, data_set.InstanceNumber = 1, 1
    data_set.Modality, data_set.PresentationIntentType = "DX", "FOR PRESENTATION"
    data_set.Manufacturer, data_set.ImageType = "ACME", ["ORIGINAL", "PRIMARY", ""]
    data_set.BodyPartExamined, data_set.ViewPosition, data_set.ImageLaterality = body_part, "AP", "R"
    data_set.PatientOrientation, data_set.BurnedInAnnotation = ["L", "F"], "NO"
    data_set.PhotometricInterpretation, data_set.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
    data_set.PixelIntensityRelationship, data_set.PixelIntensityRelationshipSign = "LOG", 1
    data_set.RescaleIntercept, data_set.RescaleSlope, data_set.RescaleType = 0, 1, "US"
    _set_pixels(data_set, pixels)
    for name, value in elements.items():
        if value is None:
            delattr(data_set, name)
        else:
            _set(data_set, name, value)
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    _set(meta, "MediaStorageSOPInstanceUID", data_set.get("SOPInstanceUID", generate_uid()))
    return data_set


def inverted(pixels):
    """The same picture as MONOCHROME1 stores it."""
    return (_WHITE - pixels).astype(np.uint16)


def truncated(data_set, keep=0.5):
    """The data set with the rest of its pixels lost, as after a transfer that broke off."""
    length = int(len(data_set.PixelData) * keep) & ~1
    data_set.PixelData = data_set.PixelData[:length]
    return data_set


def send(port, *data_sets, calling="PACS", called="TRIAGE"):
    """Send over one association; {SOP Instance UID: status}, without those that got no answer."""
    return send_each(port, data_sets, calling=calling, called=called)


def send_each(
    port: int, data_sets: Sequence[Dataset], *, calling: str = "PACS", called: str = "TRIAGE"
) -> dict[str, int]:
    """As `send`, from a sequence."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _WAIT_SECONDS
    pairs = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in data_sets}
    entity.requested_contexts = [build_context(sop_class, [syntax]) for sop_class, syntax in sorted(pairs)]
    association = entity.associate("127.0.0.1", port, ae_title=called)
    done = threading.Event()
    threading.Thread(target=stop_waiting_when_it_ends, args=(association, done), daemon=True).start()
    answers: dict[str, int] = {}
    try:
        for data_set in data_sets:
            if not association.is_established:
                break
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # of values that are not valid
                answer = association.send_c_store(data_set)
            if "Status" in answer:
                answers[str(data_set.get("SOPInstanceUID", ""))] = int(answer.Status)
    finally:
        if association.is_established:
            association.release()
        done.set()
    return answers


def stop_waiting_when_it_ends(association, done):
    """Once the connection has gone nobody answers; pynetdicom would wait as long as for somebody slow."""
    association.dul.join()
    while not done.wait(0.1):
        association.dimse.msg_queue.put((None, None))


def _set(data_set, name, value):
    """Set an element, also to what is not valid."""
    tag = tag_for_keyword(name)
    data_set[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def _set_pixels(data_set, pixels):
    wide = pixels.dtype != np.uint8
    data_set.SamplesPerPixel, data_set.PixelRepresentation = 1, 0
    data_set.Rows, data_set.Columns = pixels.shape
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = (16, 12, 11) if wide else (8, 8, 7)
    data_set.PixelData = pixels.tobytes()
    data_set["PixelData"].VR = "OW" if wide else "OB"
