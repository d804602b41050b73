"""What a FHIR server's answer to a transaction means (FHIR R4, http.html sections 3.1.0.4 to 3.1.0.11).

| answer | meaning | verdict |
|---|---|---|
| 200 with a transaction-response, each entry 2xx | all of it is there | accepted |
| 400, 404, 422 with an OperationOutcome | it refuses these resources | permanent, unless a code says it may pass |
| 409, 412 | somebody changed the same resource at the same time | try again |
| anything else | as `http_statuses` has it | |
"""

import json
from typing import Any

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http import Answer
from triage_agent.delivery.http_statuses import is_success, refusal
from triage_agent.domain.errors import DeliveryError

_REFUSES = frozenset({400, 404, 422})
# issue-type codes: those that say why resources are refused, and those that time or an admin mends.
_OF_THE_RESOURCE = frozenset(
    {
        *("invalid", "structure", "required", "value", "invariant", "processing", "not-supported", "duplicate"),
        *("multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension", "too-costly"),
        "business-rule",
    }
)
_PASSING = frozenset(
    {
        *("security", "login", "unknown", "expired", "forbidden", "suppressed", "conflict", "transient"),
        *("lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"),
    }
)


def judge_transaction(endpoint: Endpoint, answer: Answer, entries: int) -> None:
    """Return if all `entries` of a transaction were taken.

    Raises:
        DeliveryError: they were not.
    """
    said = _read(answer.body)
    if is_success(answer.status):
        statuses = _statuses(said)
        if len(statuses) == entries and all(status.startswith("2") for status in statuses):
            return
        raise DeliveryError(
            f"{endpoint} answered {answer.status} and does not say that it took every resource",
            permanent=False,
            remedy="check that the peer's url is the root of a FHIR R4 server that takes transactions",
        )
    codes = _codes(said)
    named = f" ({', '.join(sorted(codes))})" if codes else ""
    told = refusal(endpoint, answer)
    permanent = not codes & _PASSING if codes and answer.status in _REFUSES else told.permanent
    raise DeliveryError(
        f"{told.message}{named}",
        permanent=permanent,
        remedy="see the receiver's log, mend what it says, and retry" if permanent else told.remedy,
        away=told.away,
        retry_after=told.retry_after,
    )


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _statuses(said: dict[str, Any]) -> list[str]:
    """Each entry's, of a transaction-response."""
    entries = said.get("entry")
    if said.get("type") != "transaction-response" or not isinstance(entries, list):
        return []
    responses = [one.get("response") if isinstance(one, dict) else None for one in entries]
    return [str(one.get("status", "")) if isinstance(one, dict) else "" for one in responses]


def _codes(said: dict[str, Any]) -> set[str]:
    """The standard's words among an OperationOutcome's; any other could be anything."""
    issues = said.get("issue") if said.get("resourceType") == "OperationOutcome" else None
    words = {str(one.get("code")) for one in issues if isinstance(one, dict)} if isinstance(issues, list) else set()
    return words & (_OF_THE_RESOURCE | _PASSING)
