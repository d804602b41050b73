"""Which instances are radiographs to score, and in plain words why the others are not."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from triage_agent.domain.sop_classes import RADIOGRAPHS, XRF
from triage_agent.imaging.tags import integer, text, texts, uid_name

if TYPE_CHECKING:
    from pydicom import Dataset

_SECONDARY_CAPTURES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.7"} | {f"1.2.840.10008.5.1.4.1.1.7.{kind}" for kind in (1, 2, 3, 4)}
)

_NOT_RADIOGRAPHS = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.1.1.1": "raw detector data (for processing), not a radiograph for presentation",
        "1.2.840.10008.5.1.4.1.1.66": "raw data, not an image",
        "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation, not a radiograph",
        "1.2.840.10008.5.1.4.1.1.88.59": "a key object selection, not an image",
        "1.2.840.10008.5.1.4.1.1.88.67": "a radiation dose report, not an image",
        "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF, not an image",
    }
)
# Roots of families of storage SOP classes; the longest that fits speaks.
_FAMILIES = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.1.2": "mammography is not musculoskeletal",
        "1.2.840.10008.5.1.4.1.1.1.3": "an intra-oral dental image is not musculoskeletal",
        "1.2.840.10008.5.1.4.1.1.2": "CT is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.3": "ultrasound is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.4": "MR is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.6": "ultrasound is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.7": "a secondary capture, not an original radiograph",
        "1.2.840.10008.5.1.4.1.1.9": "a waveform, not an image",
        "1.2.840.10008.5.1.4.1.1.11": "a presentation state, not an image",
        "1.2.840.10008.5.1.4.1.1.12": "angiography is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.13": "3D X-ray is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.13.1.3": "breast tomosynthesis is not musculoskeletal",
        "1.2.840.10008.5.1.4.1.1.14": "intravascular imaging is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.20": "nuclear medicine is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.77": "a photograph or video, not a radiograph",
        "1.2.840.10008.5.1.4.1.1.88": "a structured report, not an image",
        "1.2.840.10008.5.1.4.1.1.104": "an encapsulated document, not an image",
        "1.2.840.10008.5.1.4.1.1.128": "PET is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.130": "PET is not a radiograph",
        "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy object, not a radiograph",
    }
)
# Modality (0008,0060) where the SOP class would allow scoring: CR plates are also used for these.
_OTHER_MODALITIES = MappingProxyType(
    {
        "BMD": "bone densitometry is not a radiograph",
        "CT": "CT is not a radiograph",
        "DG": "diaphanography is not a radiograph",
        "ES": "endoscopy is not a radiograph",
        "IO": "an intra-oral dental image is not musculoskeletal",
        "KO": "a key object selection, not an image",
        "MG": "mammography is not musculoskeletal",
        "MR": "MR is not a radiograph",
        "NM": "nuclear medicine is not a radiograph",
        "OP": "ophthalmic photography is not a radiograph",
        "PR": "a presentation state, not an image",
        "PT": "PET is not a radiograph",
        "PX": "a panoramic dental image is not musculoskeletal",
        "RTIMAGE": "a radiotherapy image is not a radiograph",
        "SM": "a microscopy image is not a radiograph",
        "SR": "a structured report, not an image",
        "US": "ultrasound is not a radiograph",
        "XA": "angiography is not a radiograph",
        "XC": "a photograph, not a radiograph",
    }
)
_RADIOGRAPHIC_MODALITIES = frozenset({"CR", "DX", "RG", "RF", "DR"})
# Image Type values, and what stands in them when a console stored something else in a radiograph's clothes.
_NO_ORIGINALS = MappingProxyType(
    {
        "LOCALIZER": "a localizer, not a diagnostic image",
        "SCOUT": "a localizer, not a diagnostic image",
        "DOSE": "a dose sheet, not a radiograph",
        "DOSE_REPORT": "a dose sheet, not a radiograph",
        "REPORT": "a report page, not a radiograph",
        "SCREEN SAVE": "a screen capture, not a radiograph",
        "SCREENSAVE": "a screen capture, not a radiograph",
        "CAD": "another program's result, not a radiograph",
    }
)


def reason_to_skip(header: Dataset, *, secondary_captures: bool = False) -> str | None:
    """Why an instance is not to be scored; None when it is a radiograph to score.

    CR, DX for presentation and single-frame radiofluoroscopy are scored, whatever part of the body they show (that is
    `region`'s question). Secondary captures are left out unless a site that digitises film says otherwise.
    """
    sop_class = text(header, "SOPClassUID")
    modality = text(header, "Modality").upper()
    if sop_class in _SECONDARY_CAPTURES:
        if not secondary_captures or modality not in _RADIOGRAPHIC_MODALITIES:
            return _FAMILIES["1.2.840.10008.5.1.4.1.1.7"]
    elif sop_class not in RADIOGRAPHS:
        return _other_class(sop_class)
    if modality in _OTHER_MODALITIES:
        return _OTHER_MODALITIES[modality]
    for value in texts(header, "ImageType"):
        if value.upper() in _NO_ORIGINALS:
            return _NO_ORIGINALS[value.upper()]
    frames = integer(header, "NumberOfFrames") or 1
    if frames > 1 and sop_class == XRF:
        return f"a fluoroscopy run of {frames} frames, not a still image"
    return None


def _other_class(sop_class: str) -> str:
    if not sop_class:
        return "an object of unknown kind, not a radiograph"
    if sop_class in _NOT_RADIOGRAPHS:
        return _NOT_RADIOGRAPHS[sop_class]
    parts = sop_class.split(".")
    for length in range(len(parts), 0, -1):
        family = ".".join(parts[:length])
        if family in _FAMILIES:
            return _FAMILIES[family]
    name = uid_name(sop_class)
    return f"an object of unknown kind ({name}), not a radiograph" if name == sop_class else f"{name}: not a radiograph"
