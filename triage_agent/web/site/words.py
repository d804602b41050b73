"""How values are said on pages: the same everywhere, never by colour alone."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from markupsafe import Markup

from triage_agent.domain.feedback import Verdict
from triage_agent.domain.reading import Listed
from triage_agent.domain.visible import visible
from triage_agent.domain.vocabulary import ArtifactKind, DeliveryState, Finding, Priority, Status

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
PRIORITY = {Priority.STAT: "STAT", Priority.URGENT: "Urgent", Priority.ROUTINE: "Routine"}
PRIORITY_SHAPE = {Priority.STAT: "▲▲", Priority.URGENT: "▲", Priority.ROUTINE: "•"}
FINDING = {
    Finding.ABNORMAL: "Abnormal",
    Finding.NORMAL: "No abnormality found",
    Finding.UNCERTAIN: "Uncertain",
    Finding.NOT_ASSESSED: "Not assessed",
}
STATUS = {
    Status.RECEIVING: "Receiving",
    Status.READY: "Waiting to be scored",
    Status.SCORING: "Being scored",
    Status.DECIDED: "Decided",
    Status.DELIVERED: "Delivered",
    Status.OUT_OF_SCOPE: "Out of scope",
    Status.NEEDS_HUMAN: "Needs a human",
}

VERDICT = {
    Verdict.AGREE: "Agree",
    Verdict.MISSED: "Disagree: missed",
    Verdict.OVERCALLED: "Disagree: overcalled",
    Verdict.WRONG_REGION: "Disagree: wrong region",
    Verdict.POOR_IMAGE: "Disagree: poor image",
}

KIND = {
    ArtifactKind.SR: "Structured report",
    ArtifactKind.SR_COMPREHENSIVE: "Structured report (comprehensive)",
    ArtifactKind.SR_ENHANCED: "Structured report (enhanced)",
    ArtifactKind.SR_TEXT: "Structured report (text)",
    ArtifactKind.GSPS: "Presentation state",
    ArtifactKind.SC: "Picture of the result",
    ArtifactKind.KOS: "Key object selection",
    ArtifactKind.PDF: "PDF",
    ArtifactKind.EVIDENCE_GSPS: "Evidence map (presentation state)",
    ArtifactKind.EVIDENCE_SC: "Evidence map (picture)",
    ArtifactKind.REJECTION: "Withdrawal of what was sent",
    ArtifactKind.HL7_ORU: "HL7 result (ORU)",
    ArtifactKind.HL7_OMI: "HL7 order (OMI)",
    ArtifactKind.HL7_ORM: "HL7 order (ORM)",
    ArtifactKind.UPS: "Workitem (UPS)",
    ArtifactKind.FHIR: "FHIR report",
}
DELIVERY = {
    DeliveryState.PENDING: "Waits to be sent",
    DeliveryState.SENDING: "Being sent",
    DeliveryState.SENT: "Sent",
    DeliveryState.COMMITTED: "Sent, and kept for good there",
    DeliveryState.DEAD: "Failed",
}
RULE = {
    "alert": "one image alone is high enough",
    "no_rule": "none of the site's rules fits",
    "anatomy_not_in_bundle": "the model does not know this region",
    "not_scored": "no image could be scored",
    "out_of_scope": "nothing here is a radiograph that is scored",
}


def age(since: datetime, now: datetime) -> str:
    """How long ago, in the two largest units: "4 min", "2 h 5 min", "3 d 4 h"."""
    seconds = max(0, int((now - since).total_seconds()))
    if seconds < _MINUTE:
        return "now"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def seconds(span: float | None) -> str:
    """How long something took: "8.2 s", "4 min 10 s", "2 h 5 min"; "—" where it never happened."""
    if span is None:
        return "—"
    if span < _MINUTE:
        return f"{span:.1f} s"
    if span < _HOUR:
        return f"{int(span) // _MINUTE} min {int(span) % _MINUTE} s"
    return f"{int(span) // _HOUR} h {int(span) % _HOUR // _MINUTE} min"


def after(gap: timedelta) -> str:
    """How much later, to the second: "3 s", "2 min 5 s", "4 h 10 min"."""
    seconds = max(0, round(gap.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min {seconds % _MINUTE} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def local(at: datetime | None, zone: tzinfo) -> str:
    """A time, to the second, in a reader's own zone, which the page names."""
    return "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def percent(probability: float | None) -> str:
    """A probability as people read it; 100 % and 0 % are never claimed."""
    if probability is None:
        return ""
    return f"{min(99, max(1, round(probability * 100)))} %"


def name(person: str | None) -> str:
    """A PN value (PS3.5 section 6.2): family name, then the rest; the first group that has any letters."""
    for group in (person or "").split("="):
        family, _, rest = group.partition("^")
        said = " ".join(part for part in rest.split("^") if part.strip())
        whole = f"{family.strip()}, {said}" if family.strip() and said else (family.strip() or said)
        if whole:
            return whole
    return "—"


def apart(text: str | None) -> Markup:
    """Foreign text that turns nothing around it: a name from right to left leaves the number behind it as it is."""
    return Markup("<bdi>{}</bdi>").format(visible(text or "")) if text else Markup("—")


def person(pn: str | None) -> Markup:
    """A PN value as `name` says it, turning nothing around it."""
    return apart(name(pn))


def raised_by(listed: Listed) -> str:
    """Who asks for the priority that a study has, where it is not that of its arrival."""
    item = listed.item
    if item.priority == item.priority_at_arrival:
        return ""
    return "by the order" if listed.known.order_priority == item.priority else "by the agent"


def rule(code: str | None) -> str:
    """The rule that fired: the agent's own ones in words, the site's by the site's name."""
    return "none yet" if not code else RULE.get(code, f"“{visible(code)}” of the site's rules")


def moment(at: datetime | None) -> str:
    """A time, to the second, in UTC; pages turn it into the reader's own."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def region(code: str | None) -> str:
    """A region's word: `XR_KNEE` is Knee."""
    return (code or "").removeprefix("XR_").replace("_", " ").capitalize()


FILTERS: dict[str, Callable[..., Any]] = {
    "age": age,
    "percent": percent,
    "person": person,
    "apart": apart,
    "raised_by": raised_by,
    "rule": rule,
    "kind": KIND.__getitem__,
    "delivery": DELIVERY.__getitem__,
    "moment": moment,
    "visible": visible,
    "after": after,
    "local": local,
    "region": region,
    "priority": PRIORITY.__getitem__,
    "shape": PRIORITY_SHAPE.__getitem__,
    "finding": lambda found: "" if found is None else FINDING[found],
    "status": STATUS.__getitem__,
    "verdict": VERDICT.__getitem__,
    "iso": lambda at: "" if at is None else at.isoformat(),
}
