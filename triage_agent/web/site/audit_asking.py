"""Between the address of the audit console and a question to the audit trail."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, available_timezones

from fastapi import HTTPException

from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.audit_words import Group, actions_of

A_PAGE = 100
_NAMES = {
    "actor": "Person or AE title",
    "patient": "Patient",
    "study": "Study UID",
    "action": "Event",
    "from": "From",
    "to": "To",
    "zone": "Time zone",
    "before": "The place in the list",
}
_REMEDIES = {
    "action": "there is no such event",
    "from": "write a time such as 2026-03-01T08:00",
    "to": "write a time such as 2026-03-01T08:00",
    "zone": "there is no such time zone; write one such as Europe/Stockholm, or UTC",
}
_LONGEST = {"actor": 200, "patient": 64, "study": 64, "action": 48, "from": 40, "to": 40, "zone": 64, "before": 19}
_YEARS = range(1970, 9000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the console shows, as its address says.

    Attributes:
        action: an action's word, or a group's; "" for any.
        since: as it was typed, in the reader's own zone; `until`, too.
        zone: the reader's own, such as Europe/Stockholm.
        own_zone: the address names it.
    """

    actor: str = ""
    patient: str = ""
    study: str = ""
    action: str = ""
    since: str = ""
    until: str = ""
    zone: str = "UTC"
    own_zone: bool = False
    before: int | None = None

    @property
    def is_backwards(self) -> bool:
        """Whether its end is not after its begin, so that nothing can be found."""
        since, until = _moment(self.since, self.timezone), _moment(self.until, self.timezone)
        return since is not None and until is not None and until <= since

    @property
    def typed(self) -> Mapping[str, str]:
        """What stands in the fields of the form."""
        return {
            "actor": self.actor,
            "patient": self.patient,
            "study": self.study,
            "action": self.action,
            "from": self.since,
            "to": self.until,
            "zone": self.zone,
        }

    @property
    def timezone(self) -> tzinfo:
        """The reader's own."""
        return ZoneInfo(self.zone)

    def question(self, studies: tuple[str, ...] | None, limit: int | None = A_PAGE) -> AuditQuestion:
        """For the trail; `studies` are the patient's, where one is asked for."""
        return AuditQuestion(
            limit=limit,
            before=self.before,
            study_instance_uid=self.study,
            studies=studies,
            actor=self.actor,
            actions=_actions(self.action),
            since=_moment(self.since, self.timezone),
            until=_moment(self.until, self.timezone),
        )

    def said(self) -> Mapping[str, str]:
        """The filters by their names, but who the patient is."""
        named = {
            "study": self.study,
            "actor": self.actor,
            "action": self.action,
            "from": self.since,
            "to": self.until,
            "zone": self.zone if self.since or self.until else "",
            "before": str(self.before or ""),
        }
        return {key: value for key, value in named.items() if value}

    def address(self, **changes: Any) -> str:
        """The query of this, or of one that differs."""
        other = replace(self, **changes)
        zone = {"zone": other.zone} if other.own_zone else {}
        patient = {"patient": other.patient} if other.patient else {}
        return urlencode({**other.said(), **patient, **zone}, errors="replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistyped:
    """A form that asks for nothing that there is.

    Attributes:
        typed: what stands in its fields, cut where it is too long.
        wrong: what is wrong with a field, by its name, in words that name the field and do not repeat what it holds.
    """

    typed: Mapping[str, str]
    wrong: Mapping[str, str]


def asked_of(query: Mapping[str, str]) -> Asked:
    """What an address asks for.

    Raises:
        HTTPException: 400 where a value is none; it is not repeated.
    """
    found = typed_of(query)
    if isinstance(found, Mistyped):
        raise HTTPException(
            400, f"The address has a value that cannot be understood. {next(iter(found.wrong.values()))}"
        )
    return found


def typed_of(query: Mapping[str, str]) -> Asked | Mistyped:
    """The same, of a form that somebody has filled in and gets back with what is wrong with it."""
    given = {key: query.get(key, "").strip(" ") for key in _LONGEST}
    wrong = {key: _said(key) for key, value in given.items() if not _fits(key, value, given["zone"])}
    if wrong:
        typed = {key: value.replace("\x00", "")[: _LONGEST[key]] for key, value in given.items()}
        return Mistyped(typed=typed, wrong=wrong)
    return Asked(
        actor=given["actor"],
        patient=" ".join(given["patient"].split()),
        study=given["study"],
        action=given["action"],
        since=given["from"],
        until=given["to"],
        zone=given["zone"] or "UTC",
        own_zone=bool(given["zone"]),
        before=_number(given["before"]),
    )


def _fits(key: str, value: str, zone: str) -> bool:
    if len(value) > _LONGEST[key] or "\x00" in value:
        return False
    try:
        if key in {"from", "to"}:  # in a zone that is none of its own fault, the end of time is looked at in UTC
            _moment(value, ZoneInfo(zone if zone in _zones() else "UTC"))
        elif key == "zone":
            return not value or value in _zones()
        elif key == "action":
            _actions(value)
        elif key == "before":
            _number(value)
    except (ValueError, OverflowError):
        return False
    return True


def _said(key: str) -> str:
    return f"{_NAMES[key]}: {_REMEDIES.get(key, f'at most {_LONGEST[key]} signs')}."


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 63):
        raise ValueError(text)
    return int(text)


def _actions(word: str) -> frozenset[AuditAction]:
    if not word:
        return frozenset()
    if word in set(Group):
        known = actions_of(Group(word))
        return frozenset(one for one in AuditAction if one.value in known)
    return frozenset({AuditAction(word)})


def _moment(text: str, zone: tzinfo) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    if found.year not in _YEARS:
        raise ValueError(text)
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
