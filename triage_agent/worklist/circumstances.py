"""What is known of a study besides its images, from its row and its orders."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from triage_agent.domain.circumstances import Circumstances, age_at
from triage_agent.domain.orders import OrderRecord, OrderStatus
from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist.order_rules import asked_by
from triage_agent.worklist.ordering import orders_of
from triage_agent.worklist.statements import OF, is_asked
from triage_agent.worklist.tables import OutboxRow, StudyRow

_TOLD = select(OutboxRow.destination).where(is_asked(OutboxRow.study_instance_uid)).distinct()


def circumstances_of(session: Session, study: StudyRow) -> Circumstances:
    """As they are now."""
    return circumstances(
        orders_of(session, study),
        at_arrival=study.priority_at_arrival,
        birth_date=study.patient_birth_date or "",
        stated_age=study.patient_age,
        received_at=study.received_at,
    )


def told_of(session: Session, study_instance_uid: str) -> frozenset[str]:
    """The destinations that results of a study have been queued for."""
    return frozenset(session.scalars(_TOLD, {OF: study_instance_uid}))


def circumstances(
    orders: Sequence[OrderRecord],
    *,
    at_arrival: Priority,
    birth_date: str,
    stated_age: int | None,
    received_at: datetime,
) -> Circumstances:
    """What a study's orders and headers say together: the orders' word goes first. Pure.

    Args:
        orders: the study's, oldest first; those that were cancelled say nothing of where the patient is.
        at_arrival: what headers and orders asked for as it came.
        birth_date: YYYYMMDD, as the images say.
        stated_age: completed years, as the images say.
        received_at: when its first image came.
    """
    valid = [order for order in orders if order.status is not OrderStatus.CANCELLED]
    asked = asked_by(valid).raised_to(at_arrival)
    born = next((order.patient_birth_date for order in reversed(valid) if order.patient_birth_date), birth_date)
    age = age_at(born, received_at.date())
    return Circumstances(
        order_priority=asked if valid or asked is not Priority.ROUTINE else None,
        location=next((order.patient_location for order in reversed(valid) if order.patient_location), ""),
        patient_class=next((order.patient_class for order in reversed(valid) if order.patient_class), ""),
        age=stated_age if age is None else age,
        arrived_at=received_at,
    )
