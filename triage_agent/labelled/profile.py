"""What of a radiograph leaves the site: a list of what is kept, so that what nobody thought of stays behind.

PS3.15 annex E, Basic Application Level Confidentiality Profile (table E.1-1). That table names what has to go, and
an implementation may remove more: here everything goes that does not stand below, private elements and free text
among it. Texts and dates that the definition of the image wants are there and empty (action Z), UIDs are replaced (U).
"""

import re
from enum import Enum, auto

from pydicom.datadict import tag_for_keyword


class Action(Enum):
    """What becomes of an element that stays."""

    KEEP = auto()  # a number, a coded word, or the pixels
    EMPTY = auto()  # there, without a value
    REPLACE_UID = auto()
    PSEUDONYM = auto()
    TERM = auto()  # one of a few words; any other is left out
    CODES = auto()  # a sequence of codes of public schemes
    ITEMS = auto()  # a sequence of numbers


_KEPT = """
ImageType Modality PresentationIntentType ConversionType BodyPartExamined ViewPosition Laterality ImageLaterality
PatientOrientation SeriesNumber InstanceNumber KVP XRayTubeCurrent ExposureTime Exposure ExposureInuAs
DistanceSourceToDetector DistanceSourceToPatient EstimatedRadiographicMagnificationFactor DetectorType
DetectorConfiguration ImagerPixelSpacing PixelSpacing NominalScannedPixelSpacing PixelSpacingCalibrationType
SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns PixelAspectRatio BitsAllocated
BitsStored HighBit PixelRepresentation SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue
PixelPaddingRangeLimit BurnedInAnnotation PixelIntensityRelationship PixelIntensityRelationshipSign WindowCenter
WindowWidth VOILUTFunction RescaleIntercept RescaleSlope LossyImageCompression LossyImageCompressionRatio
LossyImageCompressionMethod PresentationLUTShape RecognizableVisualFeatures PositionerType FieldOfViewShape
FieldOfViewDimensions FieldOfViewOrigin FieldOfViewRotation FieldOfViewHorizontalFlip PixelData
"""
_EMPTY = """
AccessionNumber StudyDate StudyTime StudyID ReferringPhysicianName PatientBirthDate PatientSex Manufacturer
AcquisitionContextSequence
"""
_CODES = "AnatomicRegionSequence AnatomicRegionModifierSequence ViewCodeSequence ViewModifierCodeSequence"
_ITEMS = "VOILUTSequence ModalityLUTSequence"

ACTIONS = {
    **dict.fromkeys(_KEPT.split(), Action.KEEP),
    **dict.fromkeys(_EMPTY.split(), Action.EMPTY),
    **dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), Action.REPLACE_UID),
    **dict.fromkeys(("PatientName", "PatientID"), Action.PSEUDONYM),
    **dict.fromkeys(_CODES.split(), Action.CODES),
    **dict.fromkeys(_ITEMS.split(), Action.ITEMS),
    "SOPClassUID": Action.KEEP,
    "RescaleType": Action.TERM,
}
KEPT_TAGS = frozenset(tag for tag in map(tag_for_keyword, ACTIONS) if tag is not None)
TERMS = frozenset({"US", "OD", "HU"})  # PS3.3 section C.11.1.1.2
IN_ITEMS = frozenset({"LUTDescriptor", "LUTData"})
SCHEMES = frozenset({"SCT", "SRT", "SNM3", "DCM"})  # of which everybody knows what a code may be
CODE = re.compile(r"[A-Za-z0-9.\-]{1,16}")
WRITTEN = {
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
    "DS": re.compile(r"[-+.eE0-9 ]{0,16}"),
    "IS": re.compile(r"[-+0-9 ]{0,12}"),
}  # PS3.5 6.2
BINARY = frozenset({"US", "SS", "UL", "SL", "FL", "FD", "OB", "OW"})
METHOD = "Basic Profile of PS3.15 annex E; only what is listed is kept"
