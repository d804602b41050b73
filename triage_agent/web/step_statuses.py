"""What the statuses of workitems are in HTTP (PS3.18 tables 11.4.3-1 to 11.12.3-1 and their Warning headers).

| status of PS3.4 or PS3.7 | HTTP | Warning |
|---|---|---|
| 0000 | 200; 201 created or subscribed; 202 a wish to cancel | |
| B304, B306 | as for success | The UPS is already in the requested state of CANCELED, COMPLETED |
| B305 | 200 | The Workitem was updated with modifications |
| 0111 | 409 | |
| 0115, 0120, C309, C314 | 400 | |
| 0124 | 403 | |
| C300 (it has ended) | 409; 400 for an update | inconsistent with the state |
| C301 | 400 | The Transaction UID is missing, or incorrect |
| C302, C303, C304, C310, C311, C312 | 409 | inconsistent with the state; C310 of an update: no claimed Workitem |
| C307, C308 | 404 | |
"""

from enum import StrEnum

from triage_agent.domain.workitem import Verdict
from triage_agent.steps import desk


class Transaction(StrEnum):
    """What is asked for (PS3.18 table 11.3-1)."""

    CREATE = "create"
    RETRIEVE = "retrieve"
    UPDATE = "update"
    CHANGE_STATE = "change state"
    REQUEST_CANCEL = "request cancellation"
    SEARCH = "search"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    SUSPEND = "suspend"


_SUCCESS = {Transaction.CREATE: 201, Transaction.SUBSCRIBE: 201, Transaction.REQUEST_CANCEL: 202}
_FAILURES = {
    Verdict.DUPLICATE: 409,
    desk.INVALID_ARGUMENT: 400,
    desk.MISSING_ATTRIBUTE: 400,
    desk.NOT_AUTHORIZED: 403,
    desk.NOT_SCHEDULED: 400,
    desk.NOT_APPROPRIATE: 400,
    desk.UNKNOWN_RECEIVER: 404,
    Verdict.UNKNOWN_WORKITEM: 404,
    Verdict.WRONG_TRANSACTION: 400,
    Verdict.NO_LONGER_UPDATED: 409,
    Verdict.ALREADY_IN_PROGRESS: 409,
    Verdict.ONLY_CREATED_SCHEDULED: 409,
    Verdict.NOT_FINISHED: 409,
    Verdict.NOT_IN_PROGRESS: 409,
    Verdict.ALREADY_DONE: 409,
    Verdict.PERFORMER_NOT_REACHED: 409,
}
_WARNINGS = {
    Verdict.ALREADY_CANCELED: "The UPS is already in the requested state of CANCELED.",
    Verdict.ALREADY_COMPLETED: "The UPS is already in the requested state of COMPLETED.",
    Verdict.COERCED: "The Workitem was updated with modifications.",
}
_REFUSALS = {
    Verdict.DUPLICATE: "The Target Workitem already exists.",
    Verdict.PERFORMER_NOT_REACHED: "The performer cannot be contacted.",
}
_UNCLAIMED = "The target URI did not reference a claimed Workitem."
_INCONSISTENT = {
    Transaction.UPDATE: "The submitted request is inconsistent with the current state of the Workitem.",
    Transaction.CHANGE_STATE: "The submitted request is inconsistent with the state of the UPS Instance.",
}
_BAD_REQUEST = 400
_INTERNAL = 500


def http_status(transaction: Transaction, reply: desk.Reply) -> int:
    """The status of a response."""
    if reply.status == Verdict.NO_LONGER_UPDATED and transaction is Transaction.UPDATE:
        return _BAD_REQUEST  # section 11.6.2
    if reply.status == Verdict.DONE or reply.status in _WARNINGS:
        return _SUCCESS.get(transaction, 200)
    return _FAILURES.get(reply.status, _INTERNAL)


def warning(transaction: Transaction, reply: desk.Reply, *, has_transaction_uid: bool) -> str:
    """What the Warning header says; empty where there is nothing to warn of."""
    if reply.status == Verdict.DONE:
        return ""
    if reply.status == Verdict.WRONG_TRANSACTION:
        return f"The Transaction UID is {'incorrect' if has_transaction_uid else 'missing'}."
    if reply.status == Verdict.NOT_IN_PROGRESS and transaction is Transaction.UPDATE:
        return _UNCLAIMED
    said = {int(verdict): text for verdict, text in {**_WARNINGS, **_REFUSALS}.items()}.get(reply.status, reply.why)
    return said or _INCONSISTENT.get(transaction, _INCONSISTENT[Transaction.UPDATE])
