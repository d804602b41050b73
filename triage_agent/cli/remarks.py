"""What people are told beside a table: what it leaves out, who does not answer, and why nothing happened."""

from collections.abc import Collection, Mapping

from triage_agent.domain.ports import StudyDetail
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import DeliveryState, Priority, Status

_WAITS = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
_BY_ITSELF = {
    Status.RECEIVING: "its images are still coming",
    Status.READY: "it waits for a worker",
    Status.SCORING: "a worker has it",
}


def left_out(
    shown: int, counts: Mapping[str, Mapping[str, int]], status: Status | None, priority: Priority | None
) -> str:
    """How many studies a list of `shown` is of; by both at once nobody has counted them."""
    if status is not None and priority is not None:
        return f"the first {shown}, there are more; --limit shows them"
    kind, word = ("priority", priority) if priority is not None else ("status", status)
    numbers = counts[kind]
    return f"{shown} of {numbers[word] if word is not None else sum(numbers.values())}; --limit shows more"


def trouble(waiting: int, troubles: Mapping[str, str | None]) -> list[str]:
    """What destinations said last that something waits for; `waiting` is how many results there are in all."""
    return [
        f"{destination} does not take results, {waiting} wait in all: {said}"
        for destination, said in sorted(troubles.items())
        if said is not None
    ]


def why_nothing(detail: StudyDetail) -> str:
    """Why nothing of a study was put back to work."""
    item = detail.item
    if item.status in _BY_ITSELF:
        return f"{_BY_ITSELF[item.status]}, it is decided by itself"
    if item.status in {Status.NEEDS_HUMAN, Status.OUT_OF_SCOPE}:
        return _nothing_to_score(detail)
    if waits := sorted({row.destination for row in detail.deliveries if row.state in _WAITS}):
        return f"its results wait for {', '.join(waits)} and are tried again by themselves"
    if any(row.state is DeliveryState.DEAD for row in detail.deliveries):
        return "what failed of it was superseded by a later result"
    if not detail.deliveries:
        return f"it is {item.status.value} and nothing of it was to be sent (no route takes it)"
    return f"it is {item.status.value} and nothing of it failed"


def _nothing_to_score(detail: StudyDetail) -> str:
    gone = [one.original_deleted_at for one in detail.instances if one.original_deleted_at]
    if gone:
        return f"its originals were deleted on {max(gone):%Y-%m-%d}, so that nothing can be scored"
    return f"nothing of it could be kept, so that nothing can be scored ({_told(detail.item)})"


def _told(item: WorklistItem) -> str:
    return item.status_reason or item.status.value


def unrouted(detail: StudyDetail, destinations: Collection[str]) -> list[str]:
    """Destinations that something of a study waits for and that no route leads to."""
    waits = {row.destination for row in detail.deliveries if row.state in _WAITS}
    return [
        f"no route leads to {name}: what waits for it is not sent until [[routes]] has it and `serve` was restarted"
        for name in sorted(waits - set(destinations))
    ]
