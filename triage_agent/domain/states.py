"""The study's life as a table: every legal move, and nothing else (promise 4)."""

from collections.abc import Mapping
from types import MappingProxyType

from triage_agent.domain.errors import IllegalTransitionError
from triage_agent.domain.vocabulary import Event, Status

TRANSITIONS: Mapping[tuple[Status, Event], Status] = MappingProxyType(
    {
        (Status.RECEIVING, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.RECEIVING, Event.COMPLETED): Status.READY,
        (Status.READY, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.READY, Event.CLAIMED): Status.SCORING,
        (Status.SCORING, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.SCORING, Event.GIVEN_BACK): Status.READY,
        (Status.SCORING, Event.DECIDED): Status.DECIDED,
        (Status.SCORING, Event.EXCLUDED): Status.OUT_OF_SCOPE,
        (Status.SCORING, Event.FAILED): Status.NEEDS_HUMAN,
        (Status.DECIDED, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.DECIDED, Event.DELIVERED): Status.DELIVERED,
        (Status.DELIVERED, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.OUT_OF_SCOPE, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.OUT_OF_SCOPE, Event.RETRIED): Status.READY,
        (Status.NEEDS_HUMAN, Event.IMAGE_RECEIVED): Status.RECEIVING,
        (Status.NEEDS_HUMAN, Event.RETRIED): Status.READY,
        # What a worker holds is begun again with the other patient; what has been told is told again.
        (Status.SCORING, Event.REISSUED): Status.RECEIVING,
        (Status.DECIDED, Event.REISSUED): Status.RECEIVING,
        (Status.DELIVERED, Event.REISSUED): Status.RECEIVING,
        (Status.OUT_OF_SCOPE, Event.REISSUED): Status.RECEIVING,
        (Status.NEEDS_HUMAN, Event.REISSUED): Status.RECEIVING,
        # Leaves every study where it is. If a report opened a revision, ours would: where a PACS forwards whole
        # studies it comes back to us, and each new revision would send the next one, without end.
        **{(status, Event.OBJECT_RECEIVED): status for status in Status},
        # Nor does this move one: what is told of the study says so from now on, and its next decision needs a human.
        **{(status, Event.CONFLICTED): status for status in Status},
    }
)

# What a study begins as, by the event that brings it: one of which nothing could be kept still has a row (promise 2).
BEGINNINGS: Mapping[Event, Status] = MappingProxyType(
    {
        Event.IMAGE_RECEIVED: Status.RECEIVING,
        Event.OBJECT_RECEIVED: Status.RECEIVING,
        Event.CONFLICTED: Status.NEEDS_HUMAN,
    }
)

# An image that arrives in one of these, a retry, or a merge of patients that a site wants told, opens a new revision:
# the old one has its result, and what is sent of the new one needs UIDs of its own (promise 5).
CONCLUDED = frozenset({Status.DECIDED, Status.DELIVERED, Status.OUT_OF_SCOPE, Status.NEEDS_HUMAN})


def next_status(status: Status, event: Event) -> Status:
    """The status after `event`.

    Raises:
        IllegalTransitionError: the table has no such move.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransitionError(status, event) from None


def opens_revision(status: Status, event: Event) -> bool:
    """Whether `event` makes the study start over as its next revision."""
    return event in {Event.IMAGE_RECEIVED, Event.RETRIED, Event.REISSUED} and status in CONCLUDED


def sources_of(event: Event) -> frozenset[Status]:
    """The statuses from which `event` is legal."""
    return frozenset(status for status, what in TRANSITIONS if what is event)
