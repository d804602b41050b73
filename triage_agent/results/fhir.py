"""A result as a FHIR R4 transaction: a preliminary DiagnosticReport, its Observations, and a Task with the priority.

Each resource is found again by an identifier made of the study alone, so that a flag, its decision and a later revision
are versions of the same resources. Patient, order and images are named by identifiers (logical references); no name is
written. The systems of the patient's and the order's identifiers are the destination's, which adds them.
"""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydicom.sr.coding import Code

from triage_agent.domain.decision import Artifact, Flag
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Priority
from triage_agent.results import codes as concepts
from triage_agent.results import header
from triage_agent.results.context import MANUFACTURER, PRODUCT, ResultContext
from triage_agent.results.summary import DISCLAIMER, FINDINGS, headline, sr_summary, warnings_of

Resource = dict[str, Any]

_OIDS = "urn:ietf:rfc:3986"  # the system of identifiers that are URIs
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_SYSTEMS: Mapping[str, str] = MappingProxyType(
    {
        "DCM": "http://dicom.nema.org/resources/ontology/DCM",
        "SCT": "http://snomed.info/sct",
        "RADLEX": "http://www.radlex.org",
        concepts.SITE_SCHEME: f"urn:oid:{concepts.SITE_SCHEME_UID}",
    }
)
# (110005, DCM, "Interpretation") of CID 9231: what the Task asks for.
_INTERPRETATION = Code("110005", "DCM", "Interpretation")
_NORMALITY = Code("121402", "DCM", "Normality")
_SECONDS = len("HHMMSS")


def build_fhir(context: ResultContext) -> Artifact:
    """The transaction of a decision, or of a flag that came before it."""
    parts = _Parts(context)
    resources = {
        "finding": parts.finding(),
        "probability": parts.probability(),
        "report": parts.report(),
        "task": parts.task(),
    }
    entries = [
        {
            "fullUrl": parts.url(name),
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}?identifier={_OIDS}|{parts.own(name)}"},
        }
        for name, resource in resources.items()
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return Artifact(
        kind=ArtifactKind.FHIR,
        uid=parts.uid,
        body=json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode(),
        summary=headline(context.result),
    )


class _Parts:
    """The resources of one result."""

    def __init__(self, context: ResultContext) -> None:
        self.uid = context.uid(ArtifactKind.FHIR.value)
        self._context = context
        self._result = context.result
        self._is_flag = isinstance(context.result, Flag)
        self._finding = Finding.ABNORMAL if isinstance(context.result, Flag) else context.result.finding
        self._made_at = context.made_at.isoformat(timespec="milliseconds")

    def own(self, name: str) -> str:
        """The identifier of one of the study's resources, the same in every revision."""
        return f"urn:oid:{derive_uid(self._result.study_instance_uid, 'fhir', name)}"

    def url(self, name: str) -> str:
        """By which other entries of the transaction refer to one of them."""
        number = derive_uid(self._result.study_instance_uid, "fhir", name).rpartition(".")[2]
        return f"urn:uuid:{uuid.UUID(int=int(number))}"

    def finding(self) -> Resource:
        """What was found, with what follows from it."""
        values = [(concepts.PRIORITY, {"text": self._result.priority.value})]
        if category := concepts.ACR_CATEGORIES.get(self._result.acr_category or ""):
            values.insert(0, (concepts.ACTIONABLE_FINDING, _concept(category)))
        components: list[Resource] = [{"code": _concept(name), "valueCodeableConcept": value} for name, value in values]
        components.append({"code": {"text": "Rule"}, "valueString": self._result.rule})
        said = "Possibly abnormal, provisional" if self._is_flag else FINDINGS[self._finding]
        observation = self._observation("finding", _NORMALITY)
        observation["valueCodeableConcept"] = _concept(concepts.NORMALITIES[self._finding], said)
        if interpretation := _interpretation(self._finding, self._result.priority):
            observation["interpretation"] = [interpretation]
        if site := concepts.REGIONS.get(self._result.anatomy or ""):
            observation["bodySite"] = _concept(site)
        return observation | {"component": components}

    def probability(self) -> Resource:
        """How probable the model calls it; absent where nothing was assessed, so that no earlier one stays."""
        observation = self._observation("probability", concepts.PROBABILITY)
        if self._result.probability is None:
            return observation | {
                "dataAbsentReason": _coded(f"{_TERMINOLOGY}/data-absent-reason", "not-performed", "Not Performed")
            }
        quantity = {"value": round(self._result.probability, 4), "system": "http://unitsofmeasure.org", "code": "1"}
        method = "one image" if self._is_flag else "mean of the scored images"
        return observation | {"valueQuantity": quantity, "method": {"text": method}}

    def report(self) -> Resource:
        """What a reader sees first."""
        report = {
            "resourceType": "DiagnosticReport",
            "identifier": [_identifier(self.own("report")), _identifier(f"urn:oid:{self.uid}")],
            **self._based_on(),
            "status": "partial" if self._is_flag else "preliminary",
            "category": [_coded(f"{_TERMINOLOGY}/v2-0074", "RAD", "Radiology")],
            "code": _coded("http://loinc.org", "18748-4", "Diagnostic imaging study"),
            **self._subject(),
            **self._effective(),
            "issued": self._made_at,
            "result": [{"reference": self.url(name)} for name in ("finding", "probability")],
            "imagingStudy": [self._study()],
            "conclusion": sr_summary(self._result),
            "conclusionCode": [_concept(concepts.NORMALITIES[self._finding])],
        }
        report["code"]["text"] = "Triage of a radiograph by a machine"
        return report

    def task(self) -> Resource:
        """To read the study as soon as its priority asks for."""
        order = self._based_on().get("basedOn", [])
        return {
            "resourceType": "Task",
            "contained": [self._device()],
            "identifier": [_identifier(self.own("task"))],
            **({"basedOn": order} if order else {}),
            "status": "requested",
            "intent": "proposal",
            "priority": self._result.priority.value,  # FHIR's request-priority has the same words, and "asap"
            "code": _concept(_INTERPRETATION),
            "description": f"{headline(self._result)} {DISCLAIMER}",
            "focus": order[0] if order else self._study(),
            "for": self._subject()["subject"],
            "lastModified": self._made_at,
            "requester": {"reference": "#device"},
            "reasonReference": {"reference": self.url("report")},
        }

    def _observation(self, name: str, code: Code) -> Resource:
        return {
            "resourceType": "Observation",
            "contained": [self._device()],
            "identifier": [_identifier(self.own(name))],
            **self._based_on(),
            "status": "preliminary",
            "category": [_coded(f"{_TERMINOLOGY}/observation-category", "imaging", "Imaging")],
            "code": _concept(code),
            **self._subject(),
            **self._effective(),
            "issued": self._made_at,
            "device": {"reference": "#device"},
            "derivedFrom": [self._study()],
            "note": [{"text": note} for note in (DISCLAIMER, *warnings_of(self._context.model))],
        }

    def _device(self) -> Resource:
        """What made it: the agent with this bundle."""
        return {
            "resourceType": "Device",
            "id": "device",
            "identifier": [_identifier(f"urn:oid:{self._context.device_uid}")],
            "manufacturer": MANUFACTURER,
            "deviceName": [{"name": PRODUCT, "type": "model-name"}],
            "version": [
                {"type": {"text": "software"}, "value": self._context.software_version},
                {"type": {"text": "model bundle"}, "value": self._context.model.label},
            ],
        }

    def _subject(self) -> Resource:
        patient_id = header.text_of(header.patient_of(self._context.headers), "PatientID")
        if not patient_id:
            return {"subject": {"type": "Patient", "display": "not identified"}}
        identifier = _coded_identifier("MR", patient_id)
        issuer = header.text_of(header.patient_of(self._context.headers), "IssuerOfPatientID")
        if issuer:
            identifier["assigner"] = {"display": issuer}
        return {"subject": {"type": "Patient", "identifier": identifier}}

    def _based_on(self) -> Resource:
        accession = header.first_text(self._context.headers, "AccessionNumber")
        if not accession:
            return {}
        return {"basedOn": [{"type": "ServiceRequest", "identifier": _coded_identifier("ACSN", accession)}]}

    def _study(self) -> Resource:
        identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{self._result.study_instance_uid}"}
        return {"type": "ImagingStudy", "identifier": identifier}

    def _effective(self) -> Resource:
        """When the images were made: to the second where date and time are known, with the zone that is."""
        headers = self._context.headers
        day = header.date(header.first_text(headers, "StudyDate"))
        time = header.time(header.first_text(headers, "StudyTime")).partition(".")[0]
        if not day:
            return {}
        if len(time) != _SECONDS or time.endswith("60"):
            return {"effectiveDateTime": f"{day[:4]}-{day[4:6]}-{day[6:]}"}
        zone = header.utc_offset(headers) or self._context.timezone
        at = datetime.strptime(day + time, "%Y%m%d%H%M%S").replace(tzinfo=zone)
        return {"effectiveDateTime": at.isoformat(timespec="seconds")}


def _interpretation(finding: Finding, priority: Priority) -> Resource | None:
    """As OBX-8 says it: AA for what should be read at once."""
    codes = {Finding.ABNORMAL: ("A", "Abnormal"), Finding.NORMAL: ("N", "Normal")}
    if finding not in codes:
        return None
    code, meaning = codes[finding]
    if finding is Finding.ABNORMAL and priority is Priority.STAT:
        code, meaning = "AA", "Critical abnormal"
    return _coded(f"{_TERMINOLOGY}/v3-ObservationInterpretation", code, meaning)


def _identifier(value: str) -> Resource:
    return {"system": _OIDS, "value": value}


def _coded_identifier(code: str, value: str) -> Resource:
    """An identifier whose system is the destination's to know."""
    return {"type": {"coding": [{"system": f"{_TERMINOLOGY}/v2-0203", "code": code}]}, "value": value}


def _concept(code: Code, text: str | None = None) -> Resource:
    concept = _coded(_SYSTEMS[code.scheme_designator], code.value, code.meaning)
    return concept | {"text": text} if text else concept


def _coded(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}
