"""What an HTTP status means for what we sent (RFC 9110 section 15, PS3.18 sections 8.5 and 10.5.3).

| status | meaning | verdict |
|---|---|---|
| 2xx | taken; what the answer's body says goes before it | accepted |
| 3xx | the service is elsewhere: results are sent only where the site says | try again |
| 400 | malformed, says the peer, or a proxy that we were not meant to meet | try again |
| 401, 403, 407 | not authorised: an admin will mend it, and until then nothing may be lost | try again |
| 404, 405 | no such service at that url: as above | try again |
| 408, 425, 429, 502, 503, 504, 507 | not now: no other object would fare better | try again, away |
| 410, 413, 414, 415, 422 | this object, as it is, is not taken | permanent |
| other 4xx, other 5xx | not foreseen | try again |

Whoever knows more (a reason for each instance, an OperationOutcome) judges by that first.
"""

from types import MappingProxyType

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http import Answer
from triage_agent.domain.errors import DeliveryError

_AWAY = frozenset({408, 425, 429, 502, 503, 504, 507})
_PERMANENT = frozenset({410, 413, 414, 415, 422})
_REMEDIES = MappingProxyType(
    {
        301: "give the url that it points to",
        302: "give the url that it points to",
        307: "give the url that it points to",
        308: "give the url that it points to",
        400: "check the peer's url, and its log",
        401: "check the peer's token, or user and password",
        403: "allow the agent to store there",
        404: "check the path of the peer's url",
        405: "check the path of the peer's url",
        407: "the agent talks to no proxy: give the peer's own url",
        413: "raise the size that the peer, or a proxy before it, takes",
        415: "see what the peer takes, and correct the route",
    }
)


def is_success(status: int) -> bool:
    """2xx."""
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110 section 15.3


def refusal(endpoint: Endpoint, answer: Answer) -> DeliveryError:
    """What to tell of an answer that is no success, by its status alone; the peer's own words are left out."""
    return DeliveryError(
        f"{endpoint} answered {answer.status}",
        permanent=answer.status in _PERMANENT,
        remedy=_REMEDIES.get(answer.status, ""),
        away=answer.status in _AWAY,
        retry_after=answer.retry_after,
    )
