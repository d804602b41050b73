"""Audit records in words: one sentence for each action, in groups that people ask for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from triage_agent.domain.audit import TIME_FORMAT, AuditRecord
from triage_agent.domain.uids import is_uid
from triage_agent.domain.visible import visible

_LONGEST_WORD = 200  # of a value within a sentence
_LONGEST_VALUE = 2000  # of a value in the detail


class Group(StrEnum):
    """What people ask the log for; no action is called so."""

    SAW = "saw"
    CLAIMED = "claimed"
    EXPORTED = "exported"
    CHANGED = "changed"
    REFUSED = "refused"
    SIGNED = "signed"
    RECEIVED = "received"
    DECIDED = "decided"
    SENT = "sent"
    LOG = "log"
    AGENT = "agent"


GROUPS: Mapping[Group, str] = {
    Group.SAW: "Who saw",
    Group.CLAIMED: "Who claimed and read",
    Group.EXPORTED: "Who exported",
    Group.CHANGED: "Who changed",
    Group.REFUSED: "Who was refused",
    Group.SIGNED: "Who signed in",
    Group.RECEIVED: "What the agent received",
    Group.DECIDED: "What the agent decided",
    Group.SENT: "What the agent sent",
    Group.LOG: "Who used the log",
    Group.AGENT: "When the agent ran",
}


@dataclass(frozen=True, slots=True)
class Saying:
    """How an action is said.

    Attributes:
        says: with the record's actor and detail in braces.
        when: another sentence where a value of the detail is this one: (key, value).
    """

    group: Group
    says: str
    when: Mapping[tuple[str, str], str] = field(default_factory=dict)


_KEEPS = "{destination} keeps what it was sent"
# By the words of `AuditAction`.
SAYINGS: Mapping[str, Saying] = {
    "studies_listed": Saying(
        Group.SAW,
        "{actor} saw the worklist",
        {("live", "True"): "{actor} has the worklist open, which changes by itself"},
    ),
    "queried": Saying(Group.SAW, "{actor} searched the {searched}"),
    "study_viewed": Saying(Group.SAW, "{actor} opened the study"),
    "results_read": Saying(Group.SAW, "{actor} fetched results of the study"),
    "reading_changed": Saying(
        Group.CLAIMED,
        "{actor} changed who reads the study: {to}",
        {
            ("to", "claimed"): "{actor} claimed the study",
            ("to", "released"): "{actor} gave the study back",
            ("to", "read"): "{actor} marked the study as read",
            ("to", "unread"): "{actor} put the study back on the list",
        },
    ),
    "audit_exported": Saying(Group.EXPORTED, "{actor} exported the audit log"),
    "feedback_exported": Saying(Group.EXPORTED, "{actor} exported feedback"),
    "feedback_given": Saying(Group.CHANGED, "{actor} gave feedback on the study"),
    "retry_requested": Saying(Group.CHANGED, "{actor} asked for another try"),
    "results_withdrawn": Saying(Group.CHANGED, "{actor} withdrew the study's results: {reason}"),
    "accounts_listed": Saying(Group.SAW, "{actor} looked at the accounts"),
    "account_changed": Saying(Group.CHANGED, "{actor} changed the account {account}: {change}"),
    "patient_updated": Saying(Group.CHANGED, "{actor} changed who the patient is"),
    "patient_merged": Saying(Group.CHANGED, "{actor} merged the patient with another"),
    "workitem_changed": Saying(Group.CHANGED, "{actor} changed the workitem: {to}"),
    "access_refused": Saying(Group.REFUSED, "{actor} was refused {route}"),
    "sign_in_refused": Saying(Group.REFUSED, "{actor} was refused the sign-in"),
    "association_rejected": Saying(Group.REFUSED, "{actor} was refused an association"),
    "hl7_rejected": Saying(Group.REFUSED, "{actor} was refused a connection for orders"),
    "signed_in": Saying(Group.SIGNED, "{actor} signed in"),
    "signed_out": Saying(Group.SIGNED, "{actor} signed out"),
    "instance_received": Saying(Group.RECEIVED, "{actor} sent an image or object"),
    "instance_duplicate": Saying(Group.RECEIVED, "{actor} sent an image or object again"),
    "instance_conflict": Saying(Group.RECEIVED, "{actor} sent other bytes under a known UID"),
    "instance_quarantined": Saying(Group.RECEIVED, "{actor} sent what was put into quarantine"),
    "instance_recovered": Saying(Group.RECEIVED, "{actor} found an image or object in the spool"),
    "retrieval_requested": Saying(Group.RECEIVED, "{actor} asked {peer} for the study"),
    "retrieval_ended": Saying(Group.RECEIVED, "Fetching from {peer} ended: {state}"),
    "order_received": Saying(Group.RECEIVED, "{actor} sent an order"),
    "order_matched": Saying(Group.RECEIVED, "An order was found to be of the study"),
    "commitment_requested": Saying(Group.RECEIVED, "{actor} asked whether {instances} objects are kept"),
    "status_changed": Saying(Group.DECIDED, "The study went from {from} to {to}"),
    "priority_raised": Saying(Group.DECIDED, "The priority was raised from {from} to {to} (rule {rule})"),
    "decision_made": Saying(Group.DECIDED, "The agent decided: {finding}, priority {priority} (rule {rule})"),
    "shadow_compared": Saying(
        Group.DECIDED,
        "The shadow bundle was compared",
        {
            ("agrees", "True"): "The shadow bundle {bundle} agrees",
            ("agrees", "False"): "The shadow bundle {bundle} does not agree",
        },
    ),
    "delivery_sent": Saying(Group.SENT, "The agent sent {kind} to {destination}"),
    "delivery_failed": Saying(Group.SENT, "{kind} could not be sent to {destination}"),
    "delivery_dead": Saying(Group.SENT, "{kind} is not sent to {destination} any more"),
    "delivery_committed": Saying(Group.SENT, _KEEPS),
    "delivery_not_committed": Saying(Group.SENT, "{destination} does not keep what it was sent"),
    "commitment_answered": Saying(Group.SENT, "{actor} was told which objects are kept"),
    "commitment_dead": Saying(Group.SENT, "{actor} could not be told which objects are kept"),
    "notice_sent": Saying(Group.SENT, "People were told by {channel}"),
    "notice_dead": Saying(Group.SENT, "People could not be told by {channel}"),
    "audit_read": Saying(
        Group.LOG,
        "{actor} read the audit log",
        {
            # What older versions wrote of both the begin and the end has other keys, too: in this order.
            ("intact", "True"): "{actor} verified the audit log: intact",
            ("intact", "False"): "{actor} verified the audit log: NOT INTACT",
            ("begun", "True"): "{actor} began to verify the audit log",
            ("command", "verify"): "{actor} had the audit log verified",
            ("story", "True"): "{actor} read the story of the study",
        },
    ),
    "audit_verified": Saying(
        Group.LOG,
        "{actor} verified the audit log",
        {
            ("ended", "False"): "The verification of the audit log by {actor} did not come to its end",
            ("intact", "False"): "{actor} verified the audit log: NOT INTACT, {wrong} wrong",
            ("records", "0"): "{actor} verified the audit log: there was nothing to look at",
            ("intact", "True"): "{actor} verified the audit log: intact, {records} records looked at",
        },
    ),
    "audit_anchored": Saying(Group.AGENT, "The head of the audit log was signed at {position}"),
    "agent_started": Saying(Group.AGENT, "The agent started"),
    "agent_stopped": Saying(Group.AGENT, "The agent stopped"),
    "originals_deleted": Saying(Group.AGENT, "The original images were deleted, as the site's retention wants it"),
}


# What nobody else does, and so no stranger's name stands there; and how our processes are called (host, number, mark).
_OF_THE_AGENT = frozenset(
    {"agent_started", "agent_stopped", "audit_anchored", "decision_made", "delivery_dead", "delivery_failed"}
    | {"delivery_sent", "instance_recovered", "notice_dead", "notice_sent", "originals_deleted", "shadow_compared"}
)
_PROCESS = re.compile(r"(?P<process>[^\s:/]+:\d+:[0-9a-f]{8})(?:/(?P<part>.+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A record as pages show it; everything in it but `actor` is safe to show.

    Attributes:
        at: None where it is no time that the agent wrote.
        actor: as it is stored, to ask for; `who` is what is shown of it.
        study: a UID that has a page, or "".
        foreign: the record is not as the agent wrote it.
    """

    id: int
    at: datetime | None
    actor: str
    who: str
    action: str
    says: str
    study: str
    detail: tuple[tuple[str, str], ...]
    foreign: bool


def line_of(record: AuditRecord) -> Line:
    """A record in words; also one that somebody changed."""
    actor, action, study = (_shown(one) for one in (record.actor, record.action, record.study_instance_uid or ""))
    detail = _detail(record.detail)
    at, saying = _time(record.at), SAYINGS.get(action)
    foreign = at is None or detail is None
    says = f"{actor}: {action.replace('_', ' ')}" if saying is None else _said(saying, actor, detail or {})
    return Line(
        id=record.id,
        at=at,
        actor=str(record.actor),
        who=_who(action, actor),
        action=action,
        says="This record is not as the agent wrote it" if foreign else says,
        study=study if is_uid(study) else "",
        detail=tuple((_shown(key), _value(value)) for key, value in _kept(record, detail).items()),
        foreign=foreign,
    )


def _who(action: str, actor: str) -> str:
    """A process of ours is said to be one; what a peer calls itself is not, however it looks."""
    ours = _PROCESS.fullmatch(actor) if action in _OF_THE_AGENT else None
    if ours is None:
        return actor
    return f"the agent, {ours['part']} ({ours['process']})" if ours["part"] else f"the agent ({ours['process']})"


def actions_of(group: Group) -> frozenset[str]:
    """The words of a group's actions."""
    return frozenset(word for word, saying in SAYINGS.items() if saying.group is group)


def event_in_words(action: str) -> str:
    """What an action is, whoever did it: its sentence without who and what."""
    says = SAYINGS[action].says.removeprefix("{actor} ").format_map(_Words(actor="somebody"))
    return says[:1].upper() + says[1:]


class _Words(dict[str, str]):
    """What a sentence does not find is left out."""

    def __missing__(self, key: str) -> str:
        return "…"


EVENTS: Mapping[str, str] = {action: event_in_words(action) for action in SAYINGS}
"""What each action is, for whoever chooses one."""


def _said(saying: Saying, actor: str, detail: Mapping[str, object]) -> str:
    says = next((other for (key, value), other in saying.when.items() if str(detail.get(key)) == value), saying.says)
    words = {key: _shown(value)[:_LONGEST_WORD].replace("_", " ") for key, value in detail.items()}
    return says.format_map(_Words(words | {"actor": actor[:_LONGEST_WORD] or "Somebody"}))


def _kept(record: AuditRecord, detail: Mapping[str, object] | None) -> Mapping[str, object]:
    if detail is not None:
        return detail
    return {"at": record.at, "detail": record.detail}


def _detail(stored: object) -> Mapping[str, object] | None:
    try:
        found = json.loads(str(stored))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _time(stored: object) -> datetime | None:
    try:
        return datetime.strptime(str(stored), TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def _value(value: object) -> str:
    said = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return _shown(said, _LONGEST_VALUE)


def _shown(value: object, longest: int = _LONGEST_VALUE) -> str:
    return visible(str(value)[:longest])
