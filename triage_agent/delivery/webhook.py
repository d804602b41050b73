"""Webhooks: a JSON document put to a url of the site's, once a message; no redirection is followed."""

import hashlib
import hmac
from types import MappingProxyType

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http import HttpClient
from triage_agent.delivery.http_statuses import is_success, refusal
from triage_agent.domain.errors import DeliveryError

ID_HEADER = "X-Triage-Notice"
SIGNATURE_HEADER = "X-Triage-Signature-256"
_GONE = frozenset({404, 410})
_REMEDIES = MappingProxyType(
    {
        401: "check the token, or the secret of the signature",
        403: "check the token, or the secret of the signature",
        404: "check the url",
        410: "make a new webhook, and give its url",
    }
)


class Webhook:
    """Puts documents to one url; used by one thread."""

    def __init__(self, endpoint: Endpoint, target: str, secret: str = "") -> None:  # none # nosec B107
        """`target` is the url's path with its query. With a `secret` each document is signed (HMAC-SHA256)."""
        self._endpoint = endpoint
        self._client = HttpClient(endpoint)
        self._target = target
        self._secret = secret.encode()

    def send(self, uid: str, document: bytes) -> None:
        """Put one document, JSON in UTF-8; `uid` tells the receiver a document that it has already.

        Raises:
            DeliveryError: it was not taken.
        """
        headers = {"Content-Type": "application/json; charset=utf-8", ID_HEADER: uid}
        if self._secret:
            headers[SIGNATURE_HEADER] = signature(self._secret, document)
        answer = self._client.ask("POST", self._target, headers=headers, content=(document,))
        if not is_success(answer.status):
            raise self._refused(refusal(self._endpoint, answer), answer.status)

    def check(self) -> str:
        """Ask for nothing (HEAD), which receivers may refuse; returns what it answered.

        Raises:
            DeliveryError: nobody answers, or not there.
        """
        answer = self._client.ask("HEAD", self._target)
        if 300 <= answer.status < 400 or answer.status in _GONE:  # noqa: PLR2004 - RFC 9110 section 15.4
            raise self._refused(refusal(self._endpoint, answer), answer.status)
        return f"{self._endpoint} answers ({answer.status} to HEAD; `triage-agent notify test` sends something)"

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _refused(self, error: DeliveryError, status: int) -> DeliveryError:
        return DeliveryError(
            error.message,
            permanent=error.permanent,
            remedy=_REMEDIES.get(status, error.remedy),
            away=error.away,
            retry_after=error.retry_after,
        )


def signature(secret: bytes, document: bytes) -> str:
    """What the header of a signed document says: "sha256=" and the HMAC-SHA256 (RFC 2104) of its bytes, in hex."""
    return "sha256=" + hmac.new(secret, document, hashlib.sha256).hexdigest()
