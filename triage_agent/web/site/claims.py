"""Who reads which study: claiming, giving back, marking as read; and what a page that stays open has to hear of it."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from triage_agent.domain.ports import Clock
from triage_agent.domain.reading import Listed, ReadingList
from triage_agent.domain.uids import is_uid
from triage_agent.web.site.condition import Condition
from triage_agent.web.site.gate import Gate, available, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.words import PRIORITY

_CLAIM_LASTS = timedelta(hours=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
_LONGEST_NUMBER = 9  # digits
_SEE_OTHER = 303
_NO_STUDY = "There is no such study on this worklist."


def is_forgotten(listed: Listed, now: datetime) -> bool:
    """Whether its reader has kept it for so long that another may take it over; what a PACS works on is left to it."""
    return listed.claimed_at is not None and not listed.at_pacs and listed.claimed_at <= now - _CLAIM_LASTS


def mark_of(listed: Listed) -> str:
    """Differs where a page of the study would say something else than before; tells nothing of what it says."""
    item = listed.item
    said = (item.revision, item.instances, item.status, item.priority, item.finding, item.probability, item.rule)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class Claims:
    """The routes."""

    def __init__(self, gate: Gate, readers: ReadingList, pages: Pages, clock: Clock, condition: Condition) -> None:
        self.router = gate.router()
        self._readers = readers
        self._pages = pages
        self._clock = clock
        self._condition = condition
        self.router.get("/condition")(self.condition)
        post = self.router.post
        post("/studies/{uid}/claim")(self.claim)
        post("/studies/{uid}/release")(self.release)
        post("/studies/{uid}/read")(self.read)
        post("/studies/{uid}/unread")(self.unread)

    def condition(self, request: Request, study: str = "") -> Response:
        """For pages that stay open: what is wrong with the agent, a part of a page or nothing; or JSON of a `study`.

        That has who asks and with what token forms are sent now (the session may be another than the page's), how the
        study stands, and its mark. Nothing in it tells of the patient or of what was found: it is no look at a study.
        """
        trouble = self._pages.text("trouble.html", None, troubles=self._condition.troubles())
        if not study:
            return HTMLResponse(trouble)
        visitor, listed = visitor_of(request), self._one(study)
        return JSONResponse(
            {
                "who": visitor.name,
                "csrf": visitor.signed_in.csrf,
                "trouble": trouble,
                "now": self._pages.text(
                    "reading.html", visitor, listed=listed, old=is_forgotten(listed, self._clock())
                ),
                "mark": mark_of(listed),
                "priority": PRIORITY[listed.item.priority],
                "rank": listed.item.priority.rank,
                "read": listed.read_at is not None,
            }
        )

    def claim(self, request: Request, uid: str) -> Response:
        """Read a study, so that nobody else opens it; 409 with the name of who reads it already.

        A claim that has been forgotten is taken over by whoever says from whom.
        """
        now, reader = self._clock(), visitor_of(request).name
        owner = visitor_of(request).form.get("from", "")
        listed = self._one(uid)
        if owner and listed.claimed_by not in {owner, reader}:
            raise HTTPException(409, f"{listed.claimed_by or 'Nobody'} reads this study now. Look again.")
        with available():
            reads = self._readers.claim(uid, reader, now, now - _CLAIM_LASTS if owner else _NEVER)
        if reads == reader:
            return _done(request, uid, "")
        old = is_forgotten(listed, now)
        return _done(
            request, uid, f"{reads} has read this study for over an hour." if old else f"{reads} reads this study."
        )

    def release(self, request: Request, uid: str) -> Response:
        """Give one's claim back."""
        return self._change(request, uid, self._readers.release, "It was not yours to give back.")

    def read(self, request: Request, uid: str) -> Response:
        """The study has been read: it leaves the list."""
        shown = visitor_of(request).form.get("instances", "")
        seen = int(shown) if shown.isdecimal() and len(shown) < _LONGEST_NUMBER else 0
        otherwise = "Somebody else reads this study, or an image has come since the page was made. Reload it."
        return self._change(request, uid, partial(self._readers.mark_read, seen=seen), otherwise)

    def unread(self, request: Request, uid: str) -> Response:
        """Put a study back on the list."""
        return self._change(request, uid, self._readers.mark_unread, "It is on the list already.")

    def _one(self, uid: str) -> Listed:
        with available():
            listed = self._readers.one(uid) if is_uid(uid) else None
        if listed is None:
            raise HTTPException(404, _NO_STUDY)
        return listed

    def _change(
        self, request: Request, uid: str, change: Callable[[str, str, datetime], bool], otherwise: str
    ) -> Response:
        if not is_uid(uid):
            raise HTTPException(404, _NO_STUDY)
        with available():
            changed = change(uid, visitor_of(request).name, self._clock())
        return _done(request, uid, "" if changed else otherwise)


def _done(request: Request, uid: str, wrong: str) -> Response:
    """To the page, or to the script that asked."""
    if wrong:
        raise HTTPException(409, wrong)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"done": True})
    return RedirectResponse(f"/studies/{uid}", _SEE_OTHER)
