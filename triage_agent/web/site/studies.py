"""The worklist and the page of a study."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.reading import Listed, ListPage, ListQuestion, Order, ReadingList
from triage_agent.domain.saved_views import SavedViews
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import AuditAction, Priority, Status
from triage_agent.web.site.asking import DAYS, View, view_of
from triage_agent.web.site.claims import is_forgotten
from triage_agent.web.site.condition import Condition
from triage_agent.web.site.gate import Gate, available, visitor_of
from triage_agent.web.site.live import Live, State
from triage_agent.web.site.masking import masked_item, masked_page
from triage_agent.web.site.pages import Pages

_IN_VIEW = 5  # studies that need a human, above every list
_COUNTED = 1000  # of them; beyond it "1000 or more" says enough
_ALL_HUMAN = View(status=Status.NEEDS_HUMAN, days="all")
_ROWS_KEPT = 5000  # as they were written for pages that are open: most are the same at the next look


class Studies:
    """The routes."""

    def __init__(
        self,
        gate: Gate,
        worklist: Worklist,
        readers: ReadingList,
        pages: Pages,
        clock: Clock,
        condition: Condition,
        views: SavedViews,
        live: Live | None = None,
    ) -> None:
        self.router = gate.router()
        self._gate = gate
        self._worklist = worklist
        self._readers = readers
        self._pages = pages
        self._clock = clock
        self._condition = condition
        self._views = views
        self._row: Callable[[Listed, bool], str] = lru_cache(_ROWS_KEPT)(
            lambda one, old: pages.text("row.html", None, one=one, now=None, old=old)
        )
        self._live = live or Live()
        get = self.router.get
        get("/")(self.listed)
        get("/live")(self.live)
        get("/api/worklist")(self.as_json)

    def listed(self, request: Request) -> Response:
        """The worklist."""
        visitor, view = visitor_of(request), view_of(request.query_params)
        with available():
            page, human = self._page(view, visitor.masked), self._human(view, visitor.masked)
            regions = self._readers.regions()
            saved = self._views.of(visitor.signed_in.account.name)
        self._gate.record(visitor, AuditAction.STUDIES_LISTED, studies=len(page.studies))
        return self._pages.show(
            "worklist.html",
            visitor,
            view=view,
            saved=saved,
            here_query=view.address(after=None),
            page=page,
            **human,
            troubles=self._condition.troubles(),
            after=page.studies[-1].place if page.more else None,
            now=self._clock(),
            is_forgotten=is_forgotten,
            statuses=list(Status),
            priorities=list(reversed(Priority)),
            regions=regions,
            days=DAYS,
        )

    async def live(self, request: Request) -> Response:
        """What changes on that list, as server-sent events, while the page is open."""
        visitor, view = visitor_of(request), view_of(request.query_params)
        seen = (view, visitor.masked)  # who sees names and who does not have no view in common
        self._live.require_room(seen)
        await run_in_threadpool(self._gate.record, visitor, AuditAction.STUDIES_LISTED, live=True)
        return StreamingResponse(
            self._live.events(seen, lambda: self._state(view, visitor.masked), lambda: self._gate.goes_on(request)),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    def as_json(
        self,
        request: Request,
        status: Status | None = None,
        priority: Priority | None = None,
        limit: int = Query(100, ge=1, le=1000),
    ) -> Response:
        """The worklist for programs, as `worklist --json` prints it."""
        with available():
            found = self._worklist.items(status=status, priority=priority, limit=limit)
        visitor = visitor_of(request)
        self._gate.record(visitor, AuditAction.STUDIES_LISTED, studies=len(found))
        return JSONResponse([_as_json(masked_item(item) if visitor.masked else item) for item in found])

    def _page(self, view: View, masked: bool) -> ListPage:
        return self._asked(view.question(self._clock()), masked)

    def _human(self, view: View, masked: bool) -> dict[str, Any]:
        """The first that need a human, and how many do; nothing above the list that has them all."""
        if replace(view, order=Order.BEST_FIRST, read=False) == _ALL_HUMAN:
            return {"human": ListPage((), more=False), "human_number": ""}
        page = self._asked(ListQuestion(status=Status.NEEDS_HUMAN, limit=_IN_VIEW), masked)
        number = self._readers.number(Status.NEEDS_HUMAN, _COUNTED) if page.more else len(page.studies)
        return {"human": page, "human_number": f"{number} or more" if number == _COUNTED else str(number)}

    def _asked(self, question: ListQuestion, masked: bool) -> ListPage:
        """Who sees no names finds none either: else the search would tell them, letter by letter."""
        if not masked:
            return self._readers.page(question)
        return masked_page(self._readers.page(replace(question, by_patient=False)))

    def _state(self, view: View, masked: bool) -> State:
        """A view as browsers show it; ages are not in it, since browsers count them."""
        page = self._page(view, masked)
        now = self._clock()
        rows = {one.item.study_instance_uid: self._row(one, is_forgotten(one, now)) for one in page.studies}
        return {
            "order": list(rows),
            "rows": rows,
            "human": self._pages.text("human.html", None, **self._human(view, masked)),
            "trouble": self._trouble(),
        }

    def _trouble(self) -> str:
        return self._pages.text("trouble.html", None, troubles=self._condition.troubles())


def _as_json(item: WorklistItem) -> Mapping[str, Any]:
    """An item as `worklist --json` prints it."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(item).items()}
