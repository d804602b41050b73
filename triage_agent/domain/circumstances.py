"""What is known of a study besides its images: what its order says, how old its patient is, when it came."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Self

from triage_agent.domain.vocabulary import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a site's rules may ask for beside the scores; nothing in it names the patient.

    Attributes:
        order_priority: the highest that its orders, or its images' headers, ask for; None where there is no order and
            no header asks for more than routine (most say nothing).
        location: where the patient is, as the order says (PV1-3); "" where nobody says.
        patient_class: HL7 table 0004 ("E" is the emergency department); "" where nobody says.
        age: the patient's completed years when the study came; None where neither order nor images say.
        arrived_at: when its first image came; None where there is no agent that received it (`triage`).
    """

    order_priority: Priority | None = None
    location: str = ""
    patient_class: str = ""
    age: int | None = None
    arrived_at: datetime | None = None

    def as_json(self) -> dict[str, object]:
        """As it lies in the database, with its decision."""
        return {
            "order_priority": self.order_priority.value if self.order_priority else None,
            "location": self.location,
            "patient_class": self.patient_class,
            "age": self.age,
            "arrived_at": self.arrived_at.isoformat() if self.arrived_at else None,
        }

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Self:
        """As it was before."""
        return cls(
            order_priority=Priority(value["order_priority"]) if value["order_priority"] else None,
            location=value["location"],
            patient_class=value["patient_class"],
            age=value["age"],
            arrived_at=datetime.fromisoformat(value["arrived_at"]) if value["arrived_at"] else None,
        )


NOTHING_KNOWN = Circumstances()

_OLDEST = 150  # years; a date of birth before that is a mistake


def age_at(birth_date: str, day: date) -> int | None:
    """Completed years on a day of who was born on YYYYMMDD; None where that is no such date, or lies after the day."""
    if len(birth_date) != len("YYYYMMDD") or not birth_date.isascii() or not birth_date.isdigit():
        return None
    try:
        born = date(int(birth_date[:4]), int(birth_date[4:6]), int(birth_date[6:]))
    except ValueError:
        return None
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return years if 0 <= years <= _OLDEST else None
