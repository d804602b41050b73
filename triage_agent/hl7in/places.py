"""Which fields of a message are read: found out by reading one that has every segment, and nothing in any of them.

A reader that finds nothing looks at every place where a value may stand, so that all of them come to light.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from triage_agent.hl7in.acknowledgement import Answer, Verdict, acknowledge
from triage_agent.hl7in.message import Delimiters, Hl7Message, InvalidMessageError, Segment
from triage_agent.hl7in.orders import location_of, orders_of
from triage_agent.hl7in.patients import Reading, patient_of, prior_ids

_SEGMENTS = ("MSH", "PID", "PV1", "ORC", "TQ1", "OBR", "IPC", "ZDS")
_ANY_ERROR = 100


class _Watched(Segment):
    """An empty segment that notes which of its fields somebody looks at."""

    def __init__(self, name: str) -> None:
        super().__init__(name, Delimiters())
        self.seen: set[int] = set()

    def raw(self, field: int) -> str:
        """Nothing."""
        self.seen.add(field)
        return ""


def of_order(reading: Reading) -> Mapping[str, tuple[int, ...]]:
    """The fields that are read of an order, by segment."""
    message = _empty(_SEGMENTS)
    with suppress(InvalidMessageError):  # an order that nothing names is refused, after it was read
        orders_of(message, reading)
    return _seen(message) | {"MSH": _of_header()}


def of_patient(reading: Reading) -> Mapping[str, tuple[int, ...]]:
    """The fields that are read of news of a patient, by segment."""
    message = _empty(("MSH", "PID", "PV1", "MRG"))
    patient_of(message.first("PID"), reading)
    prior_ids(message.first("MRG"), reading)
    visit = message.first("PV1")
    location_of(visit)
    visit.text(2)  # the patient's class, which the desk takes beside the location
    return _seen(message) | {"MSH": _of_header()}


def _of_header() -> tuple[int, ...]:
    """What is read of MSH to take a message and to answer it; MSH-1 and MSH-2 are its delimiters."""
    message = _empty(("MSH",))
    acknowledge(message, Answer(Verdict.NEVER, _ANY_ERROR), datetime.now(UTC), "", "")
    return tuple(sorted({1, 2, *_seen(message)["MSH"]}))


def _empty(names: tuple[str, ...]) -> Hl7Message:
    return Hl7Message(tuple(_Watched(name) for name in names), "ascii")


def _seen(message: Hl7Message) -> dict[str, tuple[int, ...]]:
    return {one.name: tuple(sorted(one.seen)) for one in message.segments if isinstance(one, _Watched)}
