"""The worklist and the page of a study."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi import HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction, Priority, Status
from triage_agent.web.site.gate import Gate, Visitor, available, visitor_of
from triage_agent.web.site.pages import Pages

_A_PAGE = 100

Blank = Literal[""] | None
"""What a form says of a field that is left open."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """Which studies are asked for."""

    status: Status | None
    priority: Priority | None


class Studies:
    """The routes."""

    def __init__(self, gate: Gate, worklist: Worklist, pages: Pages, clock: Clock) -> None:
        self.router = gate.router()
        self._worklist = worklist
        self._pages = pages
        self._clock = clock
        get = self.router.get
        get("/")(self.listed)
        get("/api/worklist")(self.as_json)
        get("/studies/{uid}")(self.study)

    def listed(self, request: Request, status: Status | Blank = None, priority: Priority | Blank = None) -> Response:
        """The worklist, best first."""
        visitor = visitor_of(request)
        shown = _Shown(status or None, priority or None)
        values: dict[str, Any] = {
            "items": self._listed(visitor, shown, _A_PAGE),
            "now": self._clock(),
            "shown": shown,
            "statuses": list(Status),
            "priorities": list(reversed(Priority)),
        }
        return self._pages.show("worklist.html", visitor, **values)

    def as_json(
        self,
        request: Request,
        status: Status | None = None,
        priority: Priority | None = None,
        limit: int = Query(_A_PAGE, ge=1, le=1000),
    ) -> Response:
        """The worklist for programs, as `worklist --json` prints it."""
        found = self._listed(visitor_of(request), _Shown(status, priority), limit)
        return JSONResponse([_as_json(item) for item in found])

    def study(self, request: Request, uid: str) -> Response:
        """One study."""
        visitor = visitor_of(request)
        with available():
            detail = self._worklist.study(uid) if is_uid(uid) else None
        if detail is None:
            raise HTTPException(404, "There is no such study on this worklist.")
        self._audit(AuditAction.STUDY_VIEWED, visitor, uid)
        return self._pages.show("study.html", visitor, detail=detail, item=detail.item, now=self._clock())

    def _listed(self, visitor: Visitor, shown: "_Shown", limit: int) -> Sequence[WorklistItem]:
        with available():
            found = self._worklist.items(status=shown.status, priority=shown.priority, limit=limit)
        self._audit(AuditAction.STUDIES_LISTED, visitor, None, studies=len(found))
        return found

    def _audit(self, action: AuditAction, visitor: Visitor, uid: str | None, **detail: object) -> None:
        """Before anything is shown: what cannot be audited is not seen."""
        event = AuditEvent(
            at=self._clock(),
            action=action,
            actor=visitor.name,
            study_instance_uid=uid,
            detail={"address": visitor.address, **detail},
        )
        with available():
            self._worklist.record_audit(event)


def _as_json(item: WorklistItem) -> dict[str, Any]:
    """An item as `worklist --json` prints it."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(item).items()}
