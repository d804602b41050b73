"""Simulated studies as DICOM: Digital X-Ray Image Storage - For Presentation, and Computed Radiography."""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from triage_agent.domain.uids import derive_uid
from triage_agent.simulation.phantom.device import Device, Person, add_exposure, draw_device, draw_person
from triage_agent.simulation.phantom.orientation import patient_orientation, region_words, view_code
from triage_agent.simulation.phantom.study import ANATOMIES, MAX_VALUE, PhantomStudy, PhantomView

_UID_ROOT = "phantom"
_BITS = 12
_MINUTE = timedelta(seconds=40)  # between two exposures
_COMMENT = "Simulated radiograph of no patient"


@dataclass(frozen=True, eq=False)
class _Visit:
    """What all images of one study share."""

    study: PhantomStudy
    person: Person
    device: Device
    identity: str
    started: datetime

    def uid(self, *parts: str) -> str:
        return derive_uid(_UID_ROOT, self.identity, *parts)


def study_datasets(study: PhantomStudy, seed: int, *, now: datetime) -> list[FileDataset]:
    """The study as DICOM images, one a view; the same arguments give the same bytes.

    Each study comes from one made-up device: digital (DX) or computed radiography (CR), MONOCHROME1 or 2.

    Args:
        study: What was simulated.
        seed: Where names, device and UIDs come from; another seed is another study.
        now: When the study is taken.
    """
    streams = np.random.SeedSequence([ANATOMIES.index(study.anatomy), seed]).spawn(2)
    of_person, of_device = (np.random.default_rng(stream) for stream in streams)
    visit = _Visit(
        study=study,
        person=draw_person(of_person, study.age, study.sex, now.date()),
        device=draw_device(of_device),
        identity=f"{study.anatomy}/{study.abnormal}/{study.kind}/{seed}",
        started=now,
    )
    return [_image(visit, number) for number in range(len(study.views))]


def _image(visit: _Visit, number: int) -> FileDataset:
    view = visit.study.views[number]
    dataset = Dataset()
    _add_patient(dataset, visit)
    _add_study(dataset, visit)
    _add_series(dataset, visit, view)
    _add_equipment(dataset, visit)
    _add_image(dataset, visit, view, number)
    add_exposure(dataset, visit.study.anatomy, visit.device, sequence_number=number)
    if visit.device.is_digital:
        _add_dx(dataset, visit, view)
    _add_pixels(dataset, visit, view)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derive_uid(_UID_ROOT, "implementation"))
    meta.ImplementationVersionName = "PHANTOM_1"
    return FileDataset(io.BytesIO(), dataset, preamble=b"\0" * 128, file_meta=meta)


def _add_patient(dataset: Dataset, visit: _Visit) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = visit.person.name
    dataset.PatientID = visit.person.patient_id
    dataset.IssuerOfPatientID = "PHANTOM"
    dataset.PatientBirthDate = visit.person.born.strftime("%Y%m%d")
    dataset.PatientSex = visit.study.sex
    dataset.PatientAge = f"{visit.study.age:03d}Y"


def _add_study(dataset: Dataset, visit: _Visit) -> None:
    words = region_words(visit.study.anatomy)
    side = "Left" if visit.study.laterality == "L" else "Right"
    dataset.StudyInstanceUID = visit.uid("study")
    dataset.StudyID = visit.person.accession[-6:]
    dataset.AccessionNumber = visit.person.accession
    dataset.ReferringPhysicianName = visit.person.referrer
    dataset.StudyDescription = f"XR {words.spoken} {side}"
    dataset.StudyDate, dataset.StudyTime = _stamp(visit.started)
    request = Dataset()
    request.RequestedProcedureID = f"RP{visit.person.accession[-6:]}"
    request.ScheduledProcedureStepID = f"SPS{visit.person.accession[-6:]}"
    request.RequestedProcedureDescription = dataset.StudyDescription
    dataset.RequestAttributesSequence = [request]


def _add_series(dataset: Dataset, visit: _Visit, view: PhantomView) -> None:
    words = region_words(visit.study.anatomy)
    dataset.Modality = "DX" if visit.device.is_digital else "CR"
    dataset.SeriesInstanceUID = visit.uid("series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = words.spoken
    dataset.SeriesDate, dataset.SeriesTime = _stamp(visit.started)
    dataset.OperatorsName = "Operator^Phantom"
    dataset.BodyPartExamined = words.examined
    dataset.ViewPosition = view.position
    if visit.device.is_digital:
        dataset.PresentationIntentType = "FOR PRESENTATION"
    else:
        dataset.Laterality = visit.study.laterality


def _add_equipment(dataset: Dataset, visit: _Visit) -> None:
    device = visit.device
    dataset.Manufacturer = device.manufacturer
    dataset.ManufacturerModelName = device.model
    dataset.DeviceSerialNumber = device.serial
    dataset.SoftwareVersions = device.software
    dataset.InstitutionName = "PHANTOM Hospital"
    dataset.StationName = device.station


def _add_image(dataset: Dataset, visit: _Visit, view: PhantomView, number: int) -> None:
    taken = visit.started + _MINUTE * number
    dataset.SOPClassUID = (
        DigitalXRayImageStorageForPresentation if visit.device.is_digital else ComputedRadiographyImageStorage
    )
    dataset.SOPInstanceUID = visit.uid("image", str(number))
    dataset.InstanceNumber = number + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"] + ([""] if visit.device.is_digital else [])
    dataset.AcquisitionDate, dataset.AcquisitionTime = _stamp(taken)
    dataset.ContentDate, dataset.ContentTime = _stamp(taken)
    dataset.AcquisitionNumber = number + 1
    dataset.PatientOrientation = patient_orientation(visit.study.anatomy, view.position, visit.study.laterality)
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = _COMMENT
    dataset.ImagerPixelSpacing = [f"{view.pixel_spacing_mm:.6f}"] * 2


def _add_dx(dataset: Dataset, visit: _Visit, view: PhantomView) -> None:
    """The modules that DX has and CR has not (PS3.3 A.26)."""
    dataset.ImageLaterality = visit.study.laterality
    dataset.AnatomicRegionSequence = [region_words(visit.study.anatomy).code]
    projected = view_code(view.position)
    projected.ViewModifierCodeSequence = []
    dataset.ViewCodeSequence = [projected]
    dataset.AcquisitionContextSequence = []
    dataset.PixelIntensityRelationship = "LOG"
    # PS3.3 C.8.11.3.1.2: 1 where lower values are less beam intensity, -1 where higher values are.
    dataset.PixelIntensityRelationshipSign = 1 if visit.device.is_inverted else -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    dataset.PresentationLUTShape = "INVERSE" if visit.device.is_inverted else "IDENTITY"
    dataset.DetectorType = visit.device.detector
    dataset.DetectorConfiguration = "AREA"
    dataset.DetectorID = visit.device.serial[-6:]
    dataset.PositionerType = "NONE"


def _add_pixels(dataset: Dataset, visit: _Visit, view: PhantomView) -> None:
    centre, width = view.window
    pixels = view.pixels
    if visit.device.is_inverted:
        pixels, centre = np.uint16(MAX_VALUE) - pixels, MAX_VALUE - centre
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if visit.device.is_inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, _BITS, _BITS - 1
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = f"{centre:.1f}", f"{width:.1f}"
    dataset.WindowCenterWidthExplanation = "STANDARD"
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _stamp(moment: datetime) -> tuple[str, str]:
    """DICOM date and time."""
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
