"""Rules that the SQL worklist and its in-memory twin share."""

from triage_agent.domain.vocabulary import ArtifactKind, Event

MAX_ATTEMPTS = 3
"""How often one image is leased without a result before it is left for its study's decision."""

_CONCLUSIONS = frozenset({Event.DECIDED, Event.EXCLUDED, Event.FAILED})


def require_conclusion(event: Event) -> None:
    """Refuse a decision whose event is not one.

    Raises:
        ValueError: it would move the study somewhere a decision does not lead.
    """
    if event not in _CONCLUSIONS:
        raise ValueError(f"a decision's event is one of {sorted(_CONCLUSIONS)}, not {event}")


def delivery_failure(kind: ArtifactKind, destination: str, error: str) -> str:
    """What the worklist says of a study whose delivery failed for good."""
    return f"delivery of {kind} to {destination} failed: {error}"


def no_route(destination: str) -> str:
    """Why a delivery to a destination that the configuration has no more is dead."""
    return f"no route to {destination} any more; bring it back and retry"


# Why a study waits for a worker, as the worklist says it.
GIVEN_BACK = "given back by its worker"
EXPIRED = "its worker did not finish in time"
PUT_BACK = "put back to work by a person"
