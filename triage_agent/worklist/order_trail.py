"""The audit events of orders and patients. Pure; numbers of orders and patients do not go in."""

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.orders import Message, OrderRecord
from triage_agent.domain.study import ReceivedInstance
from triage_agent.domain.vocabulary import AuditAction, Priority


def order_received(order: OrderRecord, message: Message, *, new: bool) -> AuditEvent:
    """A message made or changed an order."""
    return AuditEvent(
        at=message.received_at,
        action=AuditAction.ORDER_RECEIVED,
        actor=message.sender,
        study_instance_uid=order.study_here or None,
        detail={
            "order": order.order_id,
            "message": message.control_id,
            "priority": order.priority.value,
            "status": order.status.value,
            "new": new,
        },
    )


def order_matched(order: OrderRecord, received: ReceivedInstance) -> AuditEvent:
    """The study that an order is of has come; it begins with the order's priority, or a higher one."""
    return AuditEvent(
        at=received.received_at,
        action=AuditAction.ORDER_MATCHED,
        actor=received.source,
        study_instance_uid=received.header.study_instance_uid,
        detail={"order": order.order_id, "message": order.control_id, "priority": order.priority.value},
    )


def priority_ordered(study_instance_uid: str, before: Priority, after: Priority, message: Message) -> AuditEvent:
    """An order asked for a higher priority than its study had."""
    return AuditEvent(
        at=message.received_at,
        action=AuditAction.PRIORITY_RAISED,
        actor=message.sender,
        study_instance_uid=study_instance_uid,
        detail={"from": before.value, "to": after.value, "rule": "order", "message": message.control_id},
    )


def patient_changed(action: AuditAction, study_instance_uid: str, message: Message) -> AuditEvent:
    """A study shows its patient by another name or number; who that is stands in the message."""
    return AuditEvent(
        at=message.received_at,
        action=action,
        actor=message.sender,
        study_instance_uid=study_instance_uid,
        detail={"message": message.control_id},
    )


def patient_found_merged(received: ReceivedInstance, message: Message) -> AuditEvent:
    """A study came with a Patient ID that a message had given up before."""
    return AuditEvent(
        at=received.received_at,
        action=AuditAction.PATIENT_MERGED,
        actor=message.sender,
        study_instance_uid=received.header.study_instance_uid,
        detail={"message": message.control_id},
    )
