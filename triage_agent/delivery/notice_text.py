"""A message in words and as JSON. Pure; foreign text comes in escaped and cut, and only where the site includes it."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from string import Formatter
from types import MappingProxyType
from urllib.parse import quote
from zoneinfo import ZoneInfo

from triage_agent.domain.notice import Message, Notice, NoticeKind
from triage_agent.domain.visible import visible

MACHINE_MADE = "Preliminary and machine-made: no report, and nothing that a radiologist has confirmed."
_UTC = ZoneInfo("UTC")
_LONGEST = 64  # characters of a foreign text
_KNOWN = ("study_uid", "accession_number")
_SAID: Mapping[NoticeKind, str] = MappingProxyType(
    {
        NoticeKind.STAT: "A study was found to be read as STAT",
        NoticeKind.URGENT: "A study was found to be read as urgent",
        NoticeKind.NEEDS_HUMAN: "A study could not be assessed and needs a human, at the priority it had",
        NoticeKind.ROUTE_FAILING: "Nothing can be delivered to {destination}, since {since}",
        NoticeKind.ROUTE_WORKS: "Results are delivered to {destination} again, which had failed since {since}",
        NoticeKind.TEST: "This is a test: notices reach you",
    }
)
_COUNTED: Mapping[NoticeKind, str] = MappingProxyType(
    {
        NoticeKind.STAT: "STAT",
        NoticeKind.URGENT: "urgent",
        NoticeKind.NEEDS_HUMAN: "needs a human",
        NoticeKind.ROUTE_FAILING: "route fails",
        NoticeKind.ROUTE_WORKS: "route works again",
        NoticeKind.TEST: "test",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What a channel's messages say.

    Attributes:
        include: of "study_uid", "accession_number", "anatomy" and "finding".
        link: where to read on, with {study_uid} and {accession_number}; empty for none.
        zone: whose clock times are told by.
        agent: who we are, such as "TRIAGE at St Mary's".
        prefix: how subjects begin.
    """

    include: frozenset[str] = frozenset()
    link: str = ""
    zone: ZoneInfo = _UTC
    agent: str = "triage-agent"
    prefix: str = ""


def unknown_places(link: str) -> list[str]:
    """What a link's template names that nothing is known by.

    Raises:
        ValueError: it is no template.
    """
    return [name for _, name, _, _ in Formatter().parse(link) if name is not None and name not in _KNOWN]


def subject_of(message: Message, wording: Wording) -> str:
    """One line for a header."""
    if message.count == 1:
        said = _sentence(message.notices[0], wording)
    else:
        counts = Counter(_COUNTED[notice.kind] for notice in message.notices)
        told = ", ".join(f"{number} {word}" for word, number in counts.items())
        said = f"{message.count} notices ({told}{_more(message, ', ')})"
    return " ".join(part for part in (wording.prefix, said) if part)


def text_of(message: Message, wording: Wording) -> str:
    """What a person reads."""
    lines = [line for notice in message.notices for line in (*_lines(notice, wording), "")]
    if more := _more(message):
        lines += [f"... {more}: see the worklist.", ""]
    lines += [MACHINE_MADE, f"From {visible(wording.agent)}, message {message.uid}"]
    return "\n".join(lines) + "\n"


def document_of(message: Message, wording: Wording, version: str) -> bytes:
    """What a program reads; `text` alone is what chat systems show."""
    document = {
        "id": message.uid,
        "text": f"{subject_of(message, wording)}. {MACHINE_MADE}",
        "preliminary": True,
        "made_by": f"triage-agent {version}",
        "agent": wording.agent,
        "count": message.count,
        "notices": [_fields(notice, wording) for notice in message.notices],
    }
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()


def _more(message: Message, before: str = "") -> str:
    left = message.count - len(message.notices)
    return f"{before}and {left} more" if left > 0 else ""


def _sentence(notice: Notice, wording: Wording) -> str:
    since = notice.detail.get("failing_since", "")
    return _SAID[notice.kind].format(
        destination=_shown(notice.detail.get("destination", "")),
        since=_clock(datetime.fromisoformat(since), wording) if since else "?",
    )


def _lines(notice: Notice, wording: Wording) -> list[str]:
    fields = _included(notice, wording)
    words = {"study_uid": "Study", "accession_number": "Accession number", "anatomy": "Region", "finding": "Finding"}
    lines = [f"{_clock(notice.at, wording)}  {_sentence(notice, wording)}."]
    lines += [f"    {words[name]}: {value}" for name, value in fields.items() if name in words]
    if "probability" in fields:
        lines[-1] += f", {fields['probability']} (rule {fields['rule']})"
    if link := _link(notice, wording):
        lines.append(f"    {link}")
    return lines


def _fields(notice: Notice, wording: Wording) -> dict[str, object]:
    told: dict[str, object] = {"event": notice.kind.value, "at": notice.at.astimezone(UTC).isoformat()}
    told |= {name: _shown(value) for name, value in notice.detail.items()}
    told |= _included(notice, wording)
    if link := _link(notice, wording):
        told["link"] = link
    return told


def _included(notice: Notice, wording: Wording) -> dict[str, str]:
    """What the site wants to be told of a study, as far as it is known."""
    known = {
        "study_uid": notice.study_instance_uid,
        "accession_number": notice.accession_number,
        "anatomy": notice.anatomy,
        "finding": notice.finding,
    }
    told = {name: _shown(value) for name, value in known.items() if name in wording.include and value}
    if "finding" in told and notice.probability is not None:
        told |= {"probability": f"{notice.probability:.2f}", "rule": _shown(notice.rule)}
    return told


def _link(notice: Notice, wording: Wording) -> str:
    """The site's, filled in; none where what it names is not known."""
    known = {"study_uid": notice.study_instance_uid, "accession_number": notice.accession_number}
    needed = {name for _, name, _, _ in Formatter().parse(wording.link) if name}
    if not all(known[name] for name in needed):
        return ""
    return wording.link.format(**{name: quote(value, safe="") for name, value in known.items()})


def _shown(text: str) -> str:
    return visible(text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "...")


def _clock(at: datetime, wording: Wording) -> str:
    return f"{at.astimezone(wording.zone):%Y-%m-%d %H:%M:%S %Z}"
