"""Saving a list under a name, and forgetting it."""

from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from triage_agent.domain.ports import Clock
from triage_agent.domain.saved_views import LONGEST_NAME, LONGEST_QUERY, MOST_VIEWS, SavedViews
from triage_agent.web.site.asking import view_of
from triage_agent.web.site.gate import Gate, available, visitor_of

_SEE_OTHER = 303


class Views:
    """The routes."""

    def __init__(self, gate: Gate, views: SavedViews, clock: Clock) -> None:
        self.router = gate.router()
        self._views = views
        self._clock = clock
        self.router.post("/views")(self.save)
        self.router.post("/views/{number}/remove")(self.remove)

    def save(self, request: Request) -> Response:
        """Keep the list of a query under a name, for whoever asks."""
        visitor = visitor_of(request)
        name = " ".join(visitor.form.get("name", "").split())
        if not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
            raise HTTPException(400, f"A name has 1 to {LONGEST_NAME} characters.")
        # As we write it ourselves, and without the place of a page: what is kept can be shown again.
        query = view_of(dict(parse_qsl(visitor.form.get("query", "")[: 4 * LONGEST_QUERY]))).address(after=None)
        if len(query) > LONGEST_QUERY:
            raise HTTPException(400, "This list cannot be saved: its search is too long.")
        with available():
            saved = self._views.save(visitor.signed_in.account.name, name, query, self._clock())
            known = () if saved else self._views.of(visitor.signed_in.account.name)
        if any(one.name == name for one in known):
            raise HTTPException(
                409, "You have another list of this name. Choose another name, or remove that one first."
            )
        if not saved:
            raise HTTPException(409, f"There are {MOST_VIEWS} saved lists already. Remove one first.")
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse({"to": f"/?{query}"})
        return RedirectResponse(f"/?{query}", _SEE_OTHER)

    def remove(self, request: Request, number: int) -> Response:
        """Keep one no longer."""
        if not 1 <= number <= MOST_VIEWS:
            raise HTTPException(404, "There is no such list.")
        with available():
            self._views.remove(visitor_of(request).signed_in.account.name, number, self._clock())
        return RedirectResponse("/", _SEE_OTHER)
