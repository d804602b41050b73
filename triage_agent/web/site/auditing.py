"""The audit console."""

from collections.abc import Sequence
from typing import Literal

from fastapi import Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from triage_agent.domain.audit import AuditEvent, AuditQuestion, AuditRecord, AuditTrail
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.gate import Gate, Visitor, available, visitor_of
from triage_agent.web.site.pages import Pages

_A_PAGE = 100


def _asked(
    study: str = Query("", max_length=64),
    actor: str = Query("", max_length=200),
    action: AuditAction | Literal[""] | None = None,
    before: int | None = Query(None, ge=1, le=2**63 - 1),
) -> AuditQuestion:
    return AuditQuestion(
        limit=_A_PAGE,
        before=before,
        study_instance_uid=study.strip(),
        actor=actor.strip(),
        action=AuditAction(action) if action else None,
    )


_QUESTION = Depends(_asked)


class Auditing:
    """The routes."""

    def __init__(self, gate: Gate, worklist: Worklist, trail: AuditTrail, pages: Pages, clock: Clock) -> None:
        self.router = gate.router()
        self._worklist = worklist
        self._trail = trail
        self._pages = pages
        self._clock = clock
        self.router.get("/audit")(self.listed)
        self.router.get("/api/audit")(self.as_json)

    def listed(self, request: Request, question: AuditQuestion = _QUESTION) -> Response:
        """The records, newest first."""
        visitor = visitor_of(request)
        records = self._records(visitor, question)
        more = records[-1].number if len(records) == _A_PAGE else None
        return self._pages.show(
            "audit.html", visitor, records=records, question=question, actions=list(AuditAction), more=more
        )

    def as_json(self, request: Request, question: AuditQuestion = _QUESTION) -> Response:
        """The same for programs."""
        return JSONResponse([_as_json(record) for record in self._records(visitor_of(request), question)])

    def _records(self, visitor: Visitor, question: AuditQuestion) -> Sequence[AuditRecord]:
        """What was asked for; that it was read is audited first."""
        asked = {
            "study": question.study_instance_uid,
            "actor": question.actor,
            "action": question.action,
            "before": question.before,
        }
        event = AuditEvent(
            at=self._clock(),
            action=AuditAction.AUDIT_READ,
            actor=visitor.name,
            study_instance_uid=question.study_instance_uid or None,
            detail={"address": visitor.address, **{key: value for key, value in asked.items() if value}},
        )
        with available():
            self._worklist.record_audit(event)
            return self._trail.records(question)


def _as_json(record: AuditRecord) -> dict[str, object]:
    event = record.event
    return {
        "number": record.number,
        "at": event.at.isoformat(),
        "action": event.action.value,
        "actor": event.actor,
        "study_instance_uid": event.study_instance_uid,
        "detail": dict(event.detail),
    }
