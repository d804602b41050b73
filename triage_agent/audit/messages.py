"""DICOM audit messages (PS3.15 section A.5) of audit records. Pure: a record in, XML out; `recipes` says which."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Literal
from xml.etree import ElementTree as ET  # builds only; nothing foreign is parsed # nosec B405

from triage_agent.audit.recipes import MESSAGES, NOT_DICOM, Code, Event, Recipe, What, Who
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.vocabulary import ArtifactKind, Family, Searched

Patients = Literal["none", "id", "name"]
"""What is said of a patient."""

_MOST_INSTANCES = 40  # named in one message
_LONGEST_DETAIL = 400  # characters; RFC 5425 receivers take 8192 octets a message
# XML 1.0, production 2, and no line ends or tabs, so that a message is one line.
_NOT_XML = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MODELS: Mapping[str, str] = {  # the SOP class whose information model was searched (section A.5.3.10)
    Searched.ORDERS: "1.2.840.10008.5.1.4.31",
    Searched.WORKITEMS: "1.2.840.10008.5.1.4.34.6.5",
    Searched.RESULTS: "1.2.840.10008.5.1.4.1.2.2.1",
}
_ROLES = {
    "application": Code("110150", "Application"),
    "launcher": Code("110151", "Application Launcher"),
    "destination": Code("110152", "Destination Role ID"),
    "source": Code("110153", "Source Role ID"),
}
_SERVER = {"csd-code": "4"}  # application server process (section A.5.1.2.1)
_STUDY = Code("110180", "Study Instance UID")
_NODE = Code("110182", "Node ID")
_SOP_CLASS = Code("110181", "SOP Class UID")
_PATIENT = Code("2", "Patient Number", "RFC-3881")
_URI = Code("12", "URI", "RFC-3881")
_ORDER = Code("order", "Number of an order in the agent", "99TRIAGE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whose audit log it is.

    Attributes:
        source_id: AuditSourceID.
        site: AuditEnterpriseSiteID, empty for none.
        ae_title: the agent's, as one who takes part.
        host: the machine that says it.
        patients: what is said of patients.
    """

    source_id: str
    site: str
    ae_title: str
    host: str
    patients: Patients


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose study it is, as the worklist has it."""

    patient_id: str
    name: str


def message(event: AuditEvent, source: Source, patient: Patient | None = None) -> bytes | None:
    """The message of an event: UTF-8, one line, valid by the schema of section A.5.1. None for what makes none."""
    recipe = _recipe(event)
    if recipe is None:
        return None
    root = ET.Element("AuditMessage")
    _identify_event(root, recipe, event)
    _add_participants(root, recipe, event, source)
    site = {"AuditEnterpriseSiteID": source.site} if source.site else {}
    identified = _element(root, "AuditSourceIdentification", {**site, "AuditSourceID": source.source_id})
    _element(identified, "AuditSourceTypeCode", _SERVER)
    _add_objects(root, recipe, event, source, patient)
    made: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>' + made


def _recipe(event: AuditEvent) -> Recipe | None:
    recipe = MESSAGES.get(event.action.value)
    if recipe is not None and recipe.event is Event.INSTANCES_TRANSFERRED and recipe.who is Who.DESTINATION:
        kind = event.detail.get("kind")
        if kind in set(ArtifactKind) and ArtifactKind(str(kind)).family is not Family.DICOM_OBJECT:
            return Recipe(event=NOT_DICOM.event, action="R", who=Who.DESTINATION, outcome=recipe.outcome)
    return recipe


def _identify_event(root: ET.Element, recipe: Recipe, event: AuditEvent) -> None:
    action = "C" if recipe.event is Event.ORDER_RECORD and event.detail.get("new") is True else recipe.action
    values = {
        "EventActionCode": action,
        "EventDateTime": event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "EventOutcomeIndicator": str(recipe.outcome),
    }
    identified = _element(root, "EventIdentification", values)
    _coded(identified, "EventID", recipe.event.value)
    if recipe.type is not None:
        _coded(identified, "EventTypeCode", recipe.type)
    if recipe.outcome:
        said = str(event.detail.get("reason") or event.action.value.replace("_", " "))
        _element(identified, "EventOutcomeDescription").text = _fit(said)


def _add_participants(root: ET.Element, recipe: Recipe, event: AuditEvent, source: Source) -> None:
    """The agent, and who else: everybody once, with the role that he has in the event."""

    def agent(role: str, requestor: bool) -> None:
        here = {"NetworkAccessPointID": source.host, "NetworkAccessPointTypeCode": "1"}
        _participant(root, source.ae_title, role, requestor=requestor, **here)

    who = recipe.who
    if who is Who.LAUNCHER:
        agent("application", requestor=False)
        _participant(root, event.actor, "launcher", requestor=True)
    elif who is Who.SOURCE:
        address = event.detail.get("address")
        from_there = _access_point(str(address)) if isinstance(address, str) else {}
        _participant(root, event.actor, "source", requestor=True, **from_there)
        agent("destination", requestor=False)
    elif who is Who.PEER:
        _participant(root, str(event.detail.get("peer", "")), "source", requestor=False)
        agent("destination", requestor=False)
        _participant(root, event.actor, "", requestor=True)
    elif who is Who.DESTINATION:
        agent("source", requestor=True)
        _participant(root, str(event.detail.get("destination", "")), "destination", requestor=False)
    elif who is Who.USER:
        _participant(root, event.actor, "", requestor=True)
        agent("application", requestor=False)
    else:
        agent("application", requestor=True)


def _access_point(address: str) -> dict[str, str]:
    return {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}


def _participant(root: ET.Element, user: str, role: str, *, requestor: bool, **access_point: str) -> None:
    values = {"UserID": user, "UserIsRequestor": "true" if requestor else "false", **access_point}
    made = _element(root, "ActiveParticipant", values)
    if role:
        _coded(made, "RoleIDCode", _ROLES[role])


def _add_objects(root: ET.Element, recipe: Recipe, event: AuditEvent, source: Source, patient: Patient | None) -> None:
    if recipe.what is What.ALERT:
        alert = {"Alert Description": event.action.value.replace("_", " "), **_details(event)}
        _object(root, event.actor, _NODE, kind="2", role="13", details=alert)
    elif recipe.what is What.LOG:
        _object(root, "urn:triage-agent:audit", _URI, name="Security Audit Log", kind="2", role="13",
                details=_details(event))  # fmt: skip
    elif recipe.what is What.QUERY:
        query = json.dumps(dict(event.detail), default=str).encode()
        model = _MODELS.get(str(event.detail.get("searched")), "worklist")
        _object(root, model, _SOP_CLASS, query=query[: 8 * _LONGEST_DETAIL], kind="2", role="24", details={})
    elif recipe.what is What.STUDY:
        _add_study(root, recipe, event)
    if patient is not None and source.patients != "none":
        name = patient.name if source.patients == "name" else ""
        _object(root, patient.patient_id, _PATIENT, name=name, kind="1", role="1", details={})


def _add_study(root: ET.Element, recipe: Recipe, event: AuditEvent) -> None:
    order = event.detail.get("order")
    if recipe.event is Event.ORDER_RECORD and order is not None:
        _object(root, str(order), _ORDER, kind="2", role="20", details=_details(event))
    if event.study_instance_uid is None:
        return
    details = {} if recipe.event is Event.ORDER_RECORD else _details(event)
    study = _object(root, event.study_instance_uid, _STUDY, kind="2", role="3", details=details)
    classes = _instances(event)
    if classes:
        described = _element(study, "ParticipantObjectDescription")
        for uid, instances in classes.items():
            values = {"UID": uid} if uid else {}
            listed = _element(described, "SOPClass", {**values, "NumberOfInstances": str(len(instances))})
            for instance in instances[:_MOST_INSTANCES]:
                _element(listed, "Instance", {"UID": instance})


def _instances(event: AuditEvent) -> dict[str, list[str]]:
    """The instances that an event is about, by their SOP classes; "" is a class that the record does not name."""
    detail = event.detail
    if isinstance(detail.get("sop_instance_uid"), str):
        return {str(detail.get("sop_class_uid", "")): [str(detail["sop_instance_uid"])]}
    listed = detail.get("instances")
    if isinstance(listed, list):
        return {"": [str(one) for one in listed]}
    kind = detail.get("kind")
    if isinstance(detail.get("uid"), str) and kind in set(ArtifactKind):
        is_object = ArtifactKind(str(kind)).family is Family.DICOM_OBJECT
        return {"": [str(detail["uid"])]} if is_object else {}
    return {}


def _details(event: AuditEvent) -> dict[str, str]:
    """What the record says besides, as text; records name no patient."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in event.detail.items()}


def _object(
    root: ET.Element,
    identifier: str,
    code: Code,
    *,
    kind: str,
    role: str,
    details: Mapping[str, str],
    name: str = "",
    query: bytes | None = None,
) -> ET.Element:
    values = {
        "ParticipantObjectID": identifier,
        "ParticipantObjectTypeCode": kind,
        "ParticipantObjectTypeCodeRole": role,
    }
    made = _element(root, "ParticipantObjectIdentification", values)
    _coded(made, "ParticipantObjectIDTypeCode", code)
    if query is None:
        _element(made, "ParticipantObjectName").text = _fit(name)
    else:
        _element(made, "ParticipantObjectQuery").text = base64.b64encode(query).decode()
    for key, value in details.items():
        encoded = base64.b64encode(value[:_LONGEST_DETAIL].encode("utf-8", "replace")).decode()
        _element(made, "ParticipantObjectDetail", {"type": key, "value": encoded})
    return made


def _coded(parent: ET.Element, name: str, code: Code) -> None:
    values = {"csd-code": code.code, "codeSystemName": code.system, "originalText": code.meaning}
    _element(parent, name, values)


def _element(parent: ET.Element, name: str, values: Mapping[str, str] | None = None) -> ET.Element:
    return ET.SubElement(parent, name, {key: _fit(value) for key, value in (values or {}).items()})


def _fit(text: str) -> str:
    """What XML can hold, of a bounded length: an AE title or a reason may be anything."""
    return _NOT_XML.sub("\ufffd", text)[:_LONGEST_DETAIL]
