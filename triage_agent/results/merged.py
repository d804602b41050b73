"""Headers of images whose patient has been merged with another since: results name who it is now (IHE PIR)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR

from triage_agent.domain.orders import MergedPatient
from triage_agent.results.header import text_of

_ELEMENTS: Mapping[str, str] = MappingProxyType(
    {
        "PatientID": "patient_id",
        "IssuerOfPatientID": "issuer_of_patient_id",
        "PatientName": "patient_name",
        "PatientBirthDate": "patient_birth_date",
        "PatientSex": "patient_sex",
    }
)


def as_merged(headers: Sequence[Dataset | None], merged: MergedPatient | None) -> list[Dataset | None]:
    """The headers, copies of those with an ID that was given up with who the patient is now; files stay as they are."""
    if merged is None:
        return list(headers)
    return [
        _renamed(header, merged) if header is not None and text_of(header, "PatientID") in merged.prior_ids else header
        for header in headers
    ]


def _renamed(header: Dataset, merged: MergedPatient) -> Dataset:
    """What the message did not say stays, but for the issuer: the number that it gave is gone."""
    renamed = deepcopy(header)
    for keyword, name in _ELEMENTS.items():
        value = getattr(merged.into, name)
        if value is None and keyword == "IssuerOfPatientID":
            renamed.pop(keyword, None)
        elif value is not None:
            renamed.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
    return renamed
