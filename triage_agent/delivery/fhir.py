"""Results to a FHIR R4 server: one transaction a result, all or nothing, and never an older one over a newer.

What the server has is read first: a result that it has is not sent again, and a later one, or one that people there
have taken over, is left alone. Its words (an OperationOutcome's diagnostics may quote a patient) are never repeated.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import structlog

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.fhir_outcomes import judge_transaction
from triage_agent.delivery.http import Answer, HttpClient
from triage_agent.delivery.http_statuses import is_success, refusal
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind, Family

log = structlog.get_logger(__name__)

Resource = dict[str, Any]

_JSON = "application/fhir+json"
_OIDS = "urn:ietf:rfc:3986"
_OURS = frozenset({"registered", "partial", "preliminary"})  # statuses of a report that no person has taken over
_OPEN = frozenset({"draft", "active", "on-hold", "unknown"})  # statuses of an order that is still to be done
_RANKS: Mapping[str, int] = MappingProxyType({"routine": 0, "urgent": 1, "asap": 2, "stat": 3})  # request-priority


class FhirTransport:
    """Brings the agent's resources of a study up to date at a FHIR server."""

    kinds = frozenset(kind for kind in ArtifactKind if kind.family is Family.FHIR_RESOURCE)

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._dialect = endpoint.fhir
        self._client = HttpClient(endpoint)

    def send(self, artifact: Artifact) -> None:
        """Send one transaction; see `Transport.send`.

        Raises:
            DeliveryError: permanent where the server calls the resources invalid.
        """
        bundle = self._addressed(artifact.body)
        report = _first(bundle, "DiagnosticReport")
        if self._has(report, f"urn:oid:{artifact.uid}"):
            return
        task = _first(bundle, "Task")
        if self._dialect.priority != "task" or not self._may_write(task):
            bundle["entry"] = [one for one in bundle["entry"] if one["resource"]["resourceType"] != "Task"]
        if self._dialect.priority == "service-request":
            bundle["entry"] += self._raised_order(task)
        content = json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
        # Once: whether it got there before the connection was lost is looked at before the next time.
        answer = self._client.ask("POST", "", {"Content-Type": _JSON, "Accept": _JSON}, (content,), repeats=False)
        judge_transaction(self._endpoint, answer, len(bundle["entry"]))

    def check(self) -> str:
        """Search for a report that does not exist: what sending needs, and no patient's data come."""
        self._search("DiagnosticReport", f"{_OIDS}|urn:oid:{derive_uid('check')}")
        return f"answers FHIR at {self._endpoint}{self._endpoint.http.path}"

    def close(self) -> None:
        """Hang up; the next result connects again."""
        self._client.close()

    def _addressed(self, body: bytes) -> Resource:
        """Our bundle, with the systems in which this server has patients and orders."""
        systems = {"MR": self._dialect.patient_system, "ACSN": self._dialect.accession_system}
        bundle: Resource = json.loads(body)
        for entry in bundle["entry"]:
            resource = entry["resource"]
            references = [resource.get(name) for name in ("subject", "for", "focus")] + resource.get("basedOn", [])
            for identifier in (one["identifier"] for one in references if one and "identifier" in one):
                if "type" in identifier and (system := systems[identifier["type"]["coding"][0]["code"]]):
                    identifier["system"] = system
        return bundle

    def _has(self, report: Resource, result: str) -> bool:
        """Whether the server has this result, a later one, or a report that is no longer ours to change."""
        own = report["identifier"][0]
        found = self._search("DiagnosticReport", f"{own['system']}|{own['value']}")
        if len(found) > 1:
            raise DeliveryError(
                f"{self._endpoint} has several reports with one identifier",
                permanent=True,
                remedy="delete those that are not the first, and retry",
            )
        if not found:
            return False
        there = found[0]
        line = log.bind(destination=self._endpoint.name)
        if str(there.get("status")) not in _OURS:
            line.warning("fhir_report_taken_over")
            return True
        if any(isinstance(one, dict) and one.get("value") == result for one in _list(there.get("identifier"))):
            return True
        if _instant(there.get("issued")) > _instant(report["issued"]):
            line.info("fhir_report_superseded")
            return True
        return False

    def _may_write(self, task: Resource) -> bool:
        """Whether the task is still ours to write; it keeps the priority that it has there if that is higher."""
        own = task["identifier"][0]
        found = self._search("Task", f"{own['system']}|{own['value']}")
        if not found:
            return True
        there = found[0]
        if len(found) > 1 or str(there.get("status")) != task["status"]:
            log.info("fhir_task_left_alone", destination=self._endpoint.name)  # somebody has taken it up
            return False
        if _RANKS.get(str(there.get("priority")), 0) > _RANKS[str(task["priority"])]:
            task["priority"] = there["priority"]  # promise 3: only ever raised
        return True

    def _raised_order(self, task: Resource) -> list[Resource]:
        """The entry that raises the order's priority; none where nothing is to be raised, or not exactly one order."""
        orders = task.get("basedOn", [])
        if not orders:
            return []
        wanted = orders[0]["identifier"]
        found = self._search("ServiceRequest", "|".join(filter(None, (wanted.get("system"), wanted["value"]))))
        line = log.bind(destination=self._endpoint.name, orders=len(found))
        if len(found) != 1:
            line.warning("fhir_order_not_raised", reason="not exactly one order has the accession number")
            return []
        order, priority = found[0], str(task["priority"])
        if _about_another(order, task["for"]):
            line.warning("fhir_order_not_raised", reason="the order is another patient's")
            return []
        number, version = order.get("id"), (order.get("meta") or {}).get("versionId")
        if not isinstance(number, str) or str(order.get("status")) not in _OPEN:
            return []
        if _RANKS[priority] <= _RANKS.get(str(order.get("priority", "routine")), 0):
            return []  # promise 3: only ever raised
        patch = json.dumps([{"op": "add", "path": "/priority", "value": priority}]).encode()
        request = {"method": "PATCH", "url": f"ServiceRequest/{number}"}
        if isinstance(version, str):
            request["ifMatch"] = f'W/"{version}"'
        binary = {
            "resourceType": "Binary",
            "contentType": "application/json-patch+json",
            "data": base64.b64encode(patch).decode(),
        }
        return [{"resource": binary, "request": request}]

    def _search(self, kind: str, identifier: str) -> list[Resource]:
        """What has an identifier, two at most: more would be no better."""
        path = f"/{kind}?identifier={quote(identifier, safe='')}&_count=2"
        answer = self._client.ask("GET", path, {"Accept": _JSON, "Cache-Control": "no-cache"})
        if not is_success(answer.status):
            raise refusal(self._endpoint, answer)
        said = _read(answer)
        if said.get("resourceType") != "Bundle":
            raise DeliveryError(
                f"{self._endpoint} does not answer as a FHIR server", permanent=False, remedy="check the peer's url"
            )
        resources = [one.get("resource") for one in _list(said.get("entry")) if isinstance(one, dict)]
        return [one for one in resources if isinstance(one, dict) and one.get("resourceType") == kind]


def _read(answer: Answer) -> Resource:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _first(bundle: Resource, kind: str) -> Resource:
    found: Resource = next(one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == kind)
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _instant(text: object) -> float:
    """Seconds since 1970; what cannot be read is long ago."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _about_another(order: Resource, patient: Resource) -> bool:
    """Whether an order names another patient than we do, by an identifier: accession numbers are used again."""
    theirs = (order.get("subject") or {}).get("identifier") if isinstance(order.get("subject"), dict) else None
    ours = patient.get("identifier")
    return bool(isinstance(theirs, dict) and ours and theirs.get("value") not in {None, ours["value"]})
