"""Which DICOM audit message each action of the audit log makes, or why it makes none (PS3.15 section A.5.3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

_DCM = "DCM"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded value: CSD code, code system name, original text (PS3.15 section A.5.1)."""

    code: str
    meaning: str
    system: str = _DCM


class Event(Enum):
    """EventID (CID 400)."""

    APPLICATION_ACTIVITY = Code("110100", "Application Activity")
    AUDIT_LOG_USED = Code("110101", "Audit Log Used")
    BEGIN_TRANSFERRING = Code("110102", "Begin Transferring DICOM Instances")
    INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
    STUDY_DELETED = Code("110105", "DICOM Study Deleted")
    EXPORT = Code("110106", "Export")
    IMPORT = Code("110107", "Import")
    ORDER_RECORD = Code("110109", "Order Record")
    PATIENT_RECORD = Code("110110", "Patient Record")
    PROCEDURE_RECORD = Code("110111", "Procedure Record")
    QUERY = Code("110112", "Query")
    SECURITY_ALERT = Code("110113", "Security Alert")
    USER_AUTHENTICATION = Code("110114", "User Authentication")


class Who(Enum):
    """Who takes part, and which role the actor of the record has."""

    LAUNCHER = "launcher"  # the actor started the agent, which is the application
    SOURCE = "source"  # the actor sent to us
    PEER = "peer"  # we fetch from detail["peer"], as the actor wants it
    DESTINATION = "destination"  # we sent to detail["destination"]
    USER = "user"  # the actor did it, by the agent
    AGENT = "agent"  # we did it by ourselves


class What(Enum):
    """What it was done to, besides the study and its patient."""

    STUDY = "study"
    ALERT = "alert"
    LOG = "log"
    QUERY = "query"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a record becomes a message.

    Attributes:
        action: C, R, U, D or E; of an order that a message made, C in place of U.
        outcome: 0 success, 4 minor, 8 serious failure.
        type: EventTypeCode (CID 401).
    """

    event: Event
    action: str
    who: Who
    what: What = What.STUDY
    outcome: int = 0
    type: Code | None = None


def _transferred(action: str, who: Who, outcome: int = 0) -> Recipe:
    return Recipe(event=Event.INSTANCES_TRANSFERRED, action=action, who=who, outcome=outcome)


def _record(event: Event, action: str = "U", who: Who = Who.USER) -> Recipe:
    return Recipe(event=event, action=action, who=who)


def _alert(kind: Code, who: Who = Who.USER, outcome: int = 4) -> Recipe:
    return Recipe(event=Event.SECURITY_ALERT, action="E", who=who, what=What.ALERT, outcome=outcome, type=kind)


def _application(kind: Code) -> Recipe:
    return Recipe(event=Event.APPLICATION_ACTIVITY, action="E", who=Who.LAUNCHER, what=What.NOTHING, type=kind)


def _login(kind: Code, outcome: int = 0) -> Recipe:
    return Recipe(
        event=Event.USER_AUTHENTICATION, action="E", who=Who.USER, what=What.NOTHING, outcome=outcome, type=kind
    )


_LOGIN, _LOGOUT = Code("110122", "Login"), Code("110123", "Logout")
_NODE = Code("110126", "Node Authentication")

# By the words of `AuditAction`: those that the web application adds are here already.
MESSAGES: Mapping[str, Recipe] = {
    "agent_started": _application(Code("110120", "Application Start")),
    "agent_stopped": _application(Code("110121", "Application Stop")),
    "association_rejected": _alert(_NODE, Who.SOURCE),
    "hl7_rejected": _alert(_NODE, Who.SOURCE),
    "instance_received": _transferred("C", Who.SOURCE),
    "instance_duplicate": _transferred("R", Who.SOURCE),  # section A.5.3.7: we hold a copy, and nothing is changed
    "instance_conflict": _transferred("R", Who.SOURCE, outcome=4),
    "instance_quarantined": _transferred("C", Who.SOURCE, outcome=4),
    "instance_recovered": Recipe(event=Event.INSTANCES_ACCESSED, action="C", who=Who.AGENT),
    "priority_raised": _record(Event.PROCEDURE_RECORD),
    "decision_made": _record(Event.PROCEDURE_RECORD),
    "delivery_sent": _transferred("C", Who.DESTINATION),
    "delivery_failed": _transferred("C", Who.DESTINATION, outcome=4),
    "delivery_dead": _transferred("C", Who.DESTINATION, outcome=8),
    "delivery_not_committed": _transferred("C", Who.DESTINATION, outcome=4),
    "retrieval_requested": Recipe(event=Event.BEGIN_TRANSFERRING, action="E", who=Who.PEER),
    "retry_requested": _record(Event.PROCEDURE_RECORD),
    "results_withdrawn": Recipe(event=Event.INSTANCES_ACCESSED, action="D", who=Who.USER),
    "originals_deleted": Recipe(event=Event.STUDY_DELETED, action="D", who=Who.AGENT),
    "results_read": Recipe(event=Event.INSTANCES_ACCESSED, action="R", who=Who.USER),
    "order_received": _record(Event.ORDER_RECORD),
    "order_matched": _record(Event.ORDER_RECORD),
    "patient_updated": _record(Event.PATIENT_RECORD),
    "patient_merged": _record(Event.PATIENT_RECORD),
    "workitem_changed": _record(Event.PROCEDURE_RECORD),
    "reading_changed": _record(Event.PROCEDURE_RECORD),
    "audit_read": Recipe(event=Event.AUDIT_LOG_USED, action="R", who=Who.USER, what=What.LOG),
    "audit_verified": Recipe(event=Event.AUDIT_LOG_USED, action="R", who=Who.USER, what=What.LOG),
    "audit_exported": Recipe(event=Event.AUDIT_LOG_USED, action="R", who=Who.USER, what=What.LOG),
    "audit_anchored": Recipe(event=Event.AUDIT_LOG_USED, action="R", who=Who.AGENT, what=What.LOG),
    "signed_in": _login(_LOGIN),
    "signed_out": _login(_LOGOUT),
    "sign_in_refused": _login(_LOGIN, outcome=4),
    "account_changed": _alert(Code("110137", "User Security Attributes Changed"), outcome=0),
    "access_refused": _alert(Code("110132", "Use of Restricted Function")),
    "studies_listed": Recipe(event=Event.QUERY, action="E", who=Who.USER, what=What.QUERY),
    "queried": Recipe(event=Event.QUERY, action="E", who=Who.SOURCE, what=What.QUERY),
    "accounts_listed": Recipe(event=Event.QUERY, action="E", who=Who.USER, what=What.QUERY),
    "feedback_given": _record(Event.PROCEDURE_RECORD),
    "feedback_exported": Recipe(event=Event.EXPORT, action="R", who=Who.USER, what=What.NOTHING),
    "study_viewed": Recipe(event=Event.INSTANCES_ACCESSED, action="R", who=Who.USER),
}

NOT_DICOM = Recipe(event=Event.EXPORT, action="R", who=Who.DESTINATION)
"""In place of "transferred" where what goes to a destination is no DICOM object: a message, a resource, a workitem."""

WITHOUT: Mapping[str, str] = {
    "status_changed": "where a study is inside the agent; what it comes to has messages of its own",
    "shadow_compared": "a comparison of two bundles, from which nothing follows",
    "delivery_committed": "moves no data of a patient; that it was sent has its message",
    "commitment_requested": "a question about what was transferred; moves no data of a patient",
    "commitment_answered": "as above",
    "commitment_dead": "as above",
    "notice_sent": "a notice says nothing of who the patient is",
    "notice_dead": "a notice says nothing of who the patient is",
    "retrieval_ended": "every instance that came by it has its message",
}
"""Actions that make no message, and why."""
