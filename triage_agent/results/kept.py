"""What is kept of an object of ours when its bytes are let go: enough to name it, and to say whose it is.

A rejection note and a successor need that of objects whose originals, and whose own bytes, are long gone.
"""

from dataclasses import replace
from io import BytesIO

from pydicom import dcmread

from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import Family
from triage_agent.results.composite import as_file
from triage_agent.results.header import KEPT

EQUIPMENT = ("InstitutionName", "InstitutionalDepartmentName", "ManufacturerModelName", "SoftwareVersions")
_IDENTITY = ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_ELEMENTS = (*_IDENTITY, "TimezoneOffsetFromUTC", *EQUIPMENT, *KEPT)


def with_header(artifact: Artifact) -> Artifact:
    """The same with its header, where it is a DICOM object."""
    if artifact.kind.family is not Family.DICOM_OBJECT:
        return artifact
    kept = dcmread(BytesIO(artifact.body), specific_tags=list(_ELEMENTS), stop_before_pixels=True)
    return replace(artifact, header=as_file(kept))
