"""DICOM objects by STOW-RS (PS3.18 section 10.5): one object a request, and its own reason where it is refused.

Workitems go by UPS-RS to the same server.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http import Answer, HttpClient
from triage_agent.delivery.http_statuses import is_success, refusal
from triage_agent.delivery.ups_rs import WorkitemPoster
from triage_agent.dimse.statuses import Verdict, judge_store
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import ArtifactKind, Family

_JSON = "application/dicom+json"
_NOT_ASKED = frozenset({404, 405, 406, 501})  # by whom QIDO-RS is not offered
_STORED = "00081199"  # Referenced SOP Sequence
_FAILED = ("00081198", "0008119A")  # Failed SOP Sequence, Other Failures Sequence
_INSTANCE, _REASON = "00081155", "00081197"  # Referenced SOP Instance UID, Failure Reason


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """What the body of an answer says of one instance (PS3.18 section I.2).

    Attributes:
        stored: it is named among those that are kept.
        reason: why it is not; None where it is not named among those.
    """

    stored: bool = False
    reason: int | None = None


class DicomwebTransport:
    """Stores objects at a DICOMweb server over a connection that is kept while there is something to send."""

    kinds = frozenset(kind for kind in ArtifactKind if kind.family in {Family.DICOM_OBJECT, Family.WORKITEM})

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client = HttpClient(endpoint)
        self._workitems = WorkitemPoster(endpoint, self._client)

    def send(self, artifact: Artifact) -> None:
        """Send one Part 10 file; see `Transport.send`.

        The reasons for an instance (PS3.18 table I.2-2) are C-STORE's statuses, and are judged by the same table.
        """
        if artifact.kind.family is Family.WORKITEM:
            self._workitems.put(artifact.body)
            return
        boundary = hashlib.sha256(artifact.body).hexdigest()  # not in the body, or SHA-256 is broken
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": _JSON,
        }
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        answer = self._client.ask("POST", "/studies", headers, (head, artifact.body, tail))
        self._judge(answer, read_store_answer(answer.body, artifact.uid))

    def check(self) -> str:
        """Ask by QIDO-RS for a study that does not exist: no patient's data come."""
        query = f"/studies?StudyInstanceUID={derive_uid('check')}&limit=1"
        answer = self._client.ask("GET", query, {"Accept": _JSON})
        if is_success(answer.status):
            return f"answers DICOMweb at {self._endpoint}{self._endpoint.http.path}"
        if answer.status in _NOT_ASKED:
            return f"{self._endpoint} is there and answers no queries ({answer.status}); the first object will tell"
        raise refusal(self._endpoint, answer)

    def close(self) -> None:
        """Hang up; the next object connects again."""
        self._client.close()

    def _judge(self, answer: Answer, said: StoreAnswer) -> None:
        if said.reason is not None and not said.stored:
            verdict = judge_store(said.reason)
            if verdict is not Verdict.ACCEPTED:
                permanent = verdict is Verdict.PERMANENT
                raise DeliveryError(
                    f"{self._endpoint} did not store the object (failure reason 0x{said.reason:04X})",
                    permanent=permanent,
                    remedy="see the receiver's log, mend what it says, and retry" if permanent else "",
                    retry_after=answer.retry_after,
                )
            return
        if not is_success(answer.status):
            raise refusal(self._endpoint, answer)
        if answer.status != 200 and not said.stored:  # noqa: PLR2004 - only 200 means by itself that all is stored
            raise DeliveryError(
                f"{self._endpoint} answered {answer.status} and does not say whether it stored the object",
                permanent=False,
                remedy="have it answer application/dicom+json",
            )


def read_store_answer(body: bytes, sop_instance_uid: str) -> StoreAnswer:
    """Read a Store Instances Response in DICOM JSON (PS3.18 sections F.2 and I.2); what cannot be read says nothing.

    An item that names no instance is about ours: there was no other.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return StoreAnswer()
    if isinstance(said, list):  # some put the data set into an array, as QIDO-RS does
        said = said[0] if said else None
    ours = {None, sop_instance_uid}
    failed = [item for tag in _FAILED for item in _items(said, tag) if _first(item, _INSTANCE) in ours]
    reasons = [reason for item in failed if isinstance(reason := _first(item, _REASON), int)]
    stored = any(_first(item, _INSTANCE) in ours for item in _items(said, _STORED))
    if failed:
        return StoreAnswer(stored=stored, reason=reasons[0] if reasons else 0x0110)
    return StoreAnswer(stored=stored)


def _items(dataset: Any, tag: str) -> Iterator[Any]:
    element = dataset.get(tag) if isinstance(dataset, dict) else None
    value = element.get("Value") if isinstance(element, dict) else None
    yield from value if isinstance(value, list) else ()


def _first(item: Any, tag: str) -> Any:
    value = next(_items(item, tag), None)
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None
