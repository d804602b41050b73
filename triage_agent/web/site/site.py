"""Puts the pages together: one gate, one set of templates, and what is shown instead of a page that cannot be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from triage_agent.domain.accounts import Accounts
from triage_agent.domain.feedback import FeedbackBook
from triage_agent.domain.figures import Figures
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.reading import ReadingList
from triage_agent.domain.saved_views import SavedViews
from triage_agent.domain.sessions import Sessions
from triage_agent.ops.gauges import Disk
from triage_agent.web.site.account_pages import AccountPages
from triage_agent.web.site.audit_chain import AuditParts
from triage_agent.web.site.audit_story import Telling
from triage_agent.web.site.auditing import Auditing
from triage_agent.web.site.claims import Claims
from triage_agent.web.site.condition import Condition
from triage_agent.web.site.dashboard import Dashboard
from triage_agent.web.site.entrance import Entrance
from triage_agent.web.site.gate import Gate, SafeHeaders, SignInNeededError
from triage_agent.web.site.images import Radiographs
from triage_agent.web.site.judging import Judging
from triage_agent.web.site.pages import Pages, static_router
from triage_agent.web.site.passwords import Passwords
from triage_agent.web.site.people import People, SessionRule
from triage_agent.web.site.provider_pages import ProviderPages
from triage_agent.web.site.second_pages import SecondPages
from triage_agent.web.site.signing import Signing
from triage_agent.web.site.studies import Studies
from triage_agent.web.site.viewing import Viewing
from triage_agent.web.site.views import Views
from triage_agent.web.site.weakness import PasswordRules

_SERVICES = ("/dicom-web", "/healthz", "/readyz", "/metrics")
_SEE_OTHER = 303
_TITLES = {
    400: "Not understood",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    409: "Not done",
    410: "Not here any more",
    413: "Too long",
    422: "Cannot be read",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not available now",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSettings:
    """How the pages behave.

    Attributes:
        secure: browsers reach us by https, here or at a proxy before us: the cookie is sent over nothing else.
        destinations: where results go, by the routes' names: a banner tells when they do not get there.
        pacs_link: where a study is opened at the PACS, with {study_uid} and {accession_number}.
        refused_passwords: a file of passwords that nobody may take, one a line; "" for none.
        evidence: readers may be shown where in an image its score comes from.
    """

    institution: str = ""
    secure: bool = False
    idle: timedelta = timedelta(minutes=60)
    longest: timedelta = timedelta(hours=12)
    pacs_link: str = ""
    destinations: tuple[str, ...] = ()
    evidence: bool = False
    refused_passwords: str = ""


class Site:
    """The routers, and what the application needs besides."""

    def __init__(
        self,
        settings: SiteSettings,
        worklist: Worklist,
        accounts: Accounts,
        audit: AuditParts,
        readers: ReadingList,
        radiographs: Radiographs,
        feedback: FeedbackBook,
        figures: Figures,
        disk: Callable[[], Disk],
        clock: Clock,
        version: str,
        passwords: Passwords | None = None,
        entrance: Entrance | None = None,
        *,
        views: SavedViews,
        sessions: Sessions,
    ) -> None:
        self._pages = pages = Pages(settings.institution, version)
        rule = SessionRule(idle=settings.idle, longest=settings.longest)
        words = PasswordRules(institution=settings.institution, refused=settings.refused_passwords)
        people = People(accounts, clock, rule, passwords, entrance.second if entrance else None, words)
        self.condition = here = Condition(worklist, settings.destinations, clock)
        gate = Gate(people, worklist, clock, "__Host-triage" if settings.secure else "triage", entrance)
        signing = Signing(gate, people, pages, secure=settings.secure, provider=_label(entrance))
        auditing = Auditing(gate, worklist, audit, pages, clock)
        self.verifier = auditing.verifier
        self.routers: tuple[APIRouter, ...] = (
            static_router(),
            signing.router,
            *(() if entrance is None else _entrance(entrance, gate, people, accounts, pages, clock, signing)),
            AccountPages(gate, people, accounts, sessions, pages, clock).router,
            Studies(gate, worklist, readers, pages, clock, here, views).router,
            Claims(gate, readers, pages, clock, here).router,
            Views(gate, views, clock).router,
            Viewing(
                gate,
                worklist,
                readers,
                pages,
                clock,
                radiographs,
                feedback,
                here,
                settings.pacs_link,
                evidence=settings.evidence,
            ).router,
            Judging(gate, feedback, clock).router,
            Dashboard(gate, worklist, figures, feedback, disk, pages, clock, settings.destinations).router,
            auditing.router,
            Telling(gate, worklist, audit, pages).router,
        )

    def join(self, app: FastAPI, checks: Mapping[str, Callable[[], None]]) -> None:
        """Add the routes, the headers, and the pages for what goes wrong; readers are told of what is not ready."""
        self.condition.checks = checks
        for router in self.routers:
            app.include_router(router)
        app.add_middleware(SafeHeaders)
        app.exception_handler(SignInNeededError)(_to_sign_in)
        app.exception_handler(StarletteHTTPException)(self._refused)
        app.exception_handler(RequestValidationError)(self._not_understood)

    def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteHTTPException)  # noqa: S101 - as it was registered
        headers = error.headers
        if _is_for_programs(request):
            return JSONResponse({"detail": error.detail}, status_code=error.status_code, headers=headers)
        status = error.status_code
        answer = self._pages.show(
            "refused.html", None, status, said=_said(status, error.detail), title=_TITLES.get(status, "Not done")
        )
        answer.headers.update(headers or {})
        return answer

    def _not_understood(self, request: Request, _error: Exception) -> Response:
        """What was wrong is not repeated: it is the visitor's own text."""
        return self._refused(request, HTTPException(400, "The address has a value that cannot be understood."))


def _label(entrance: Entrance | None) -> str:
    return entrance.label if entrance is not None and entrance.provider is not None else ""


def _entrance(
    entrance: Entrance, gate: Gate, people: People, accounts: Accounts, pages: Pages, clock: Clock, signing: Signing
) -> tuple[APIRouter, ...]:
    give = signing.hand_out
    provided = ProviderPages(gate, people, accounts, pages, entrance.provider, entrance.seal, clock, give)
    return SecondPages(gate, people, entrance.second, pages, give).router, provided.router


def _to_sign_in(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInNeededError)  # noqa: S101 - as it was registered
    return RedirectResponse(error.then, _SEE_OTHER)


def _is_for_programs(request: Request) -> bool:
    wants = request.headers.get("accept", "")
    return request.url.path.startswith(("/api/", *_SERVICES)) or wants.startswith("application/json")


def _said(status: int, detail: str) -> str:
    return "There is no such page." if (status, detail) == (404, "Not Found") else detail
