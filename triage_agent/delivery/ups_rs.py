"""Brings a workitem up to date by UPS-RS at a server that owns the worklist: Create, else Update (PS3.18 11.4, 11.6).

409 means that an earlier result made it. What is there is read first, so that no priority is ever lowered, whoever set
it; one that somebody has claimed, or that has ended, is left alone.
"""

import json
from collections.abc import Mapping
from typing import Any

import structlog

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http import Answer, HttpClient
from triage_agent.delivery.http_statuses import is_success, refusal
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.workitem import StepState, text_at
from triage_agent.steps.dicom_json import write_data_set
from triage_agent.steps.updating import changes_to, read_workitem

log = structlog.get_logger(__name__)

_JSON = "application/dicom+json"
_PRIORITY, _STATE = "00741200", "00741000"
_CONFLICT, _GONE = 409, 410
_STATE_WAS_ANOTHER = frozenset({400, 409})  # section 11.6.2 wants 400 of what has ended, dcm4chee answers 409


class WorkitemPoster:
    """One server, over its connection."""

    def __init__(self, endpoint: Endpoint, client: HttpClient) -> None:
        self._endpoint = endpoint
        self._client = client

    def put(self, part10: bytes) -> None:
        """Create the workitem, or bring the one that is there up to date.

        Raises:
            DeliveryError: it was not taken; permanent where the same again cannot be.
        """
        uid, data = read_workitem(part10)
        answer = self._post(f"/workitems?workitem={uid}", write_data_set(data))
        if answer.status != _CONFLICT:
            self._judge(answer)
            return
        there = self._there(uid)
        if there is None:
            return
        answer = self._post(f"/workitems/{uid}", write_data_set(changes_to(text_at(there, _PRIORITY), data)))
        if answer.status == _GONE or (answer.status in _STATE_WAS_ANOTHER and self._there(uid) is None):
            return  # somebody has taken it since we looked
        self._judge(answer)

    def _there(self, uid: str) -> Mapping[str, Any] | None:
        """The workitem that the server has; None where it is not ours to change any more.

        Raises:
            DeliveryError: the server does not say.
        """
        answer = self._client.ask("GET", f"/workitems/{uid}", {"Accept": _JSON})
        if answer.status == _GONE:
            self._leave_alone(uid, "gone")
            return None
        self._judge(answer)
        there = _read(answer.body)
        state = text_at(there, _STATE)
        if state not in {one.value for one in StepState}:
            raise DeliveryError(
                f"{self._endpoint} does not say what state the workitem has",
                permanent=False,
                remedy="have it answer application/dicom+json",
            )
        if state == StepState.SCHEDULED:
            return there
        self._leave_alone(uid, state)
        return None

    def _leave_alone(self, uid: str, why: str) -> None:
        log.info("workitem_not_ours_any_more", workitem=uid, state=why)

    def _post(self, path: str, data: Mapping[str, object]) -> Answer:
        headers = {"Content-Type": _JSON, "Accept": _JSON}
        return self._client.ask("POST", path, headers, [json.dumps(data).encode()])

    def _judge(self, answer: Answer) -> None:
        if not is_success(answer.status):
            raise refusal(self._endpoint, answer)


def _read(body: bytes) -> Mapping[str, Any]:
    """A workitem in DICOM JSON, which some put into an array; what cannot be read says nothing."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(said, list) and said:
        said = said[0]
    return said if isinstance(said, dict) else {}
