"""A study's whole story on a page: every record of it, from the first image to the last reader, with times between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import HTTPException, Request, Response

from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.ports import Worklist
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.audit_asking import Asked, asked_of
from triage_agent.web.site.audit_chain import AuditParts
from triage_agent.web.site.audit_words import Line, line_of
from triage_agent.web.site.gate import Gate, available, visitor_of
from triage_agent.web.site.pages import Pages

_MOST = 5000  # records on the page

_RECEIVED = AuditAction.INSTANCE_RECEIVED.value
# What readers of a story look for first: the sentence of the first record that says it.
_MILESTONES = {
    "First image": (_RECEIVED, "instance_recovered"),
    "Raised": ("priority_raised",),
    "Decided": ("decision_made",),
    "First result sent": ("delivery_sent",),
    "First opened": ("study_viewed",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Records one after the other that say the same; mostly there is one.

    Attributes:
        gap: since the record before; None at the first, and where a time is none.
        since_first: since the story began.
        until: when the last of them was.
    """

    line: Line
    number: int
    gap: timedelta | None
    since_first: timedelta | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Milestone:
    """The first time that something happened."""

    name: str
    at: datetime
    since_first: timedelta


class Telling:
    """The route."""

    def __init__(self, gate: Gate, worklist: Worklist, parts: AuditParts, pages: Pages) -> None:
        self.router = gate.router()
        self._gate = gate
        self._worklist = worklist
        self._parts = parts
        self._pages = pages
        self.router.get("/studies/{uid}/story")(self.story)

    def story(self, request: Request, uid: str) -> Response:
        """One study, also one that is not on the worklist but has records; no patient is named."""
        visitor, asked = visitor_of(request), asked_of(request.query_params)
        lines, listed = self._lines(uid) if is_uid(uid) else ([], False)
        if not (lines or listed):
            raise HTTPException(404, "There is no such study in the audit log.")
        self._gate.record(visitor, AuditAction.AUDIT_READ, uid, story=True)
        return self._pages.show(
            "audit_story.html",
            visitor,
            uid=uid,
            asked=asked,
            listed=listed,
            chapters=list(chapters_of(lines[:_MOST])),
            milestones=milestones_of(lines),
            records=min(len(lines), _MOST),
            more=len(lines) > _MOST,
            all_of_it=Asked(study=uid).address(),
        )

    def _lines(self, uid: str) -> tuple[Sequence[Line], bool]:
        question = AuditQuestion(limit=_MOST + 1, study_instance_uid=uid)
        with available():
            listed = self._worklist.study(uid) is not None
            return [line_of(record) for record in self._parts.log.walk(question)], listed


def chapters_of(lines: Sequence[Line]) -> Iterator[Chapter]:
    """Records in their order; what says the same again is told once, with its number."""
    first = lines[0].at if lines else None
    before: datetime | None = None
    start = 0
    while start < len(lines):
        end = start + 1
        while end < len(lines) and lines[end].says == lines[start].says and not lines[end].foreign:
            end += 1
        line, last = lines[start], lines[end - 1]
        yield Chapter(
            line=line, number=end - start, gap=_between(before, line.at), since_first=_between(first, line.at),
            until=last.at,
        )  # fmt: skip
        start, before = end, last.at


def milestones_of(lines: Sequence[Line]) -> list[Milestone]:
    """The first time of each, in the order of their times; and when it was read last."""
    first = next((line.at for line in lines if line.at is not None), None)
    if first is None:
        return []
    found = []
    for name, actions in _MILESTONES.items():
        at = next((line.at for line in lines if line.action in actions and line.at is not None), None)
        found += [] if at is None else [Milestone(name, at, at - first)]
    read = [line.at for line in lines if line.action == "reading_changed" and ("to", "read") in line.detail and line.at]
    found += [Milestone("Read", read[-1], read[-1] - first)] if read else []
    return sorted(found, key=lambda one: one.at)


def _between(before: datetime | None, at: datetime | None) -> timedelta | None:
    return None if before is None or at is None else at - before
