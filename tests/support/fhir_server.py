"""A small FHIR R4 server: conditional semantics, versions and transactions as the standard has them.

Its models are fhir.resources', of R4B; the resources that the agent makes are the same there as in R4.
"""

import base64
import copy
import json
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError
from support.http_peer import Said, http_peer


class RefusedError(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


def validated(resource):
    """The resource as the models write it; raises ValidationError."""
    return json.loads(get_fhir_model_class(resource["resourceType"]).model_validate(resource).model_dump_json())


class FhirServer:
    """Resources by (type, id); `faults` are answered before anything is looked at."""

    def __init__(self):
        self.resources, self.history, self.faults, self.transactions = {}, [], [], 0

    def of(self, kind):
        return [resource for (one, _), resource in self.resources.items() if one == kind]

    def only(self, kind):
        (resource,) = self.of(kind)
        return resource

    def put(self, resource):
        """Keep a resource as if somebody else had written it; returns its id."""
        number = resource.get("id") or str(len(self.history) + 1)
        version = len([one for one in self.history if one == (resource["resourceType"], number)]) + 1
        self.history.append((resource["resourceType"], number))
        kept = {**resource, "id": number, "meta": {"versionId": str(version)}}
        self.resources[resource["resourceType"], number] = kept
        return number

    def answer(self, asked):
        if self.faults:
            return self.faults.pop(0)
        url = urlsplit(asked.path)
        path = url.path.removeprefix("/fhir").strip("/")
        try:
            if asked.method == "GET":
                entries = [{"resource": one} for one in self.matching(path, parse_qs(url.query))]
                return self.said(200, {"resourceType": "Bundle", "type": "searchset", "entry": entries})
            if asked.method == "POST" and not path:
                return self.said(200, self.transact(json.loads(asked.body)))
        except RefusedError as refused:
            issue = {
                "severity": "error",
                "code": refused.code,
                "diagnostics": "Patient Lind, Eva is not as it should be",
            }
            return self.said(refused.status, {"resourceType": "OperationOutcome", "issue": [issue]})
        return Said(404)

    def said(self, status, resource):
        return Said(status, json.dumps(resource).encode(), {"Content-Type": "application/fhir+json"})

    def matching(self, kind, query):
        system, _, value = query["identifier"][0].rpartition("|")

        def fits(identifier):
            return identifier["value"] == value and (not system or identifier.get("system") == system)

        return [one for one in self.of(kind) if any(fits(identifier) for identifier in one.get("identifier", []))]

    def transact(self, bundle):
        before = copy.deepcopy((self.resources, self.history))
        try:
            answers = self.applied(bundle)
        except BaseException:
            self.resources, self.history = before
            raise
        self.transactions += 1
        return {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}

    def applied(self, bundle):
        try:
            validated(bundle)
        except ValidationError as error:
            raise RefusedError(422, "invariant") from error
        places = {}
        for entry in bundle["entry"]:
            if entry["request"]["method"] == "PUT":
                kind, _, query = entry["request"]["url"].partition("?")
                found = self.matching(kind, parse_qs(query))
                if len(found) > 1:
                    raise RefusedError(412, "multiple-matches")
                places[entry["fullUrl"]] = (kind, found[0]["id"] if found else f"n{len(self.history) + len(places)}")
        text = json.dumps(bundle)
        for url, (kind, number) in places.items():
            text = text.replace(json.dumps({"reference": url}), json.dumps({"reference": f"{kind}/{number}"}))
        assert '"reference": "urn:uuid' not in text, "a reference leads nowhere"
        return [{"response": {"status": self.one(entry, places)}} for entry in json.loads(text)["entry"]]

    def one(self, entry, places):
        request, resource = entry["request"], entry["resource"]
        if request["method"] == "PATCH":
            return self.patched(request, resource)
        kind, number = places[entry["fullUrl"]]
        status = "200 OK" if (kind, number) in self.resources else "201 Created"
        self.put({**resource, "id": number})
        return status

    def patched(self, request, binary):
        assert binary["contentType"] == "application/json-patch+json"
        resource = self.resources[tuple(request["url"].split("/"))]
        if request.get("ifMatch", "") not in {"", f'W/"{resource["meta"]["versionId"]}"'}:
            raise RefusedError(412, "conflict")
        (operation,) = json.loads(base64.b64decode(binary["data"]))
        assert operation["op"] == "add"
        self.put({**resource, operation["path"].removeprefix("/"): operation["value"]})
        return "200 OK"


@contextmanager
def fhir_server():
    """A running one, with the peer that carries it."""
    server = FhirServer()
    with http_peer(server.answer) as peer:
        yield server, peer
