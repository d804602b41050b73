"""Which dead deliveries stay dead: a later result of the same kind has been sent or waits, and would be overwritten.

Or a rejection note has, behind which an object that it does not name would come back.

Pure; the SQL worklist and its in-memory twin share it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Family

ARRIVED = frozenset({DeliveryState.SENT, DeliveryState.COMMITTED})
"""What the destination has."""

_GOES_OUT = frozenset({DeliveryState.PENDING, DeliveryState.SENDING}) | ARRIVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row of a study's outbox stands among the others; `number` is the order in which they were queued.

    `is_outdone`: it asks for a raise to less than the study has by now.
    """

    number: int
    revision: int
    of_decision: bool
    kind: ArtifactKind
    destination: str
    state: DeliveryState
    is_outdone: bool = False

    @property
    def slot(self) -> tuple[str, ArtifactKind]:
        """What a receiver keeps one of: a flag's message and the decision's are of one kind."""
        return (self.destination, self.kind)

    @property
    def tells(self) -> bool:
        """Whether it tells of the decision: a rejection note is queued like one and only takes something back."""
        return self.of_decision and self.kind is not ArtifactKind.REJECTION

    @property
    def age(self) -> tuple[int, bool, int]:
        """Sorts the older result first: a decision is newer than its revision's flags, whenever they were queued."""
        return (self.revision, self.of_decision, self.number)


def superseded(places: Iterable[Place]) -> frozenset[int]:
    """The numbers of one study's dead rows that must not be sent after all."""
    rows = list(places)
    newest: dict[tuple[str, ArtifactKind], tuple[int, bool, int]] = {}
    for row in rows:
        if row.state in _GOES_OUT:
            newest[row.slot] = max(row.age, newest.get(row.slot, row.age))

    def is_past(row: Place) -> bool:
        if row.is_outdone:
            return True
        if row.kind is ArtifactKind.REJECTION:
            return False  # another one is about other objects
        withdrawal = (row.destination, ArtifactKind.REJECTION)
        takers = [row.slot, withdrawal] if row.kind.family is Family.DICOM_OBJECT else [row.slot]
        return any(newest[taker] > row.age for taker in takers if taker in newest)

    return frozenset(row.number for row in rows if row.state is DeliveryState.DEAD and is_past(row))


def superseded_error(last_error: str | None) -> str:
    """What people read beside a row that is superseded."""
    return f"superseded by a later result; before that: {last_error or 'nothing'}"
