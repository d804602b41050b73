"""The gate before every page: session, role, forged requests; and the headers that every answer has."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders

from triage_agent.domain.accounts import Role, SignedIn
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.access import Access
from triage_agent.web.site.browsers import browser_in_words
from triage_agent.web.site.entrance import Entrance
from triage_agent.web.site.limits import Pace, place_of
from triage_agent.web.site.people import People, digest_of
from triage_agent.web.site.rules import Door, Rule, rule_of

LIVE = "/live"
_ASKED_BY_PAGES = frozenset({LIVE, "/condition", "/api/audit/chain"})  # by themselves: that keeps no session alive
CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"
_LONGEST_BODY = 64 * 1024
_SAFE = frozenset({"GET", "HEAD"})
# No script, style or image of anybody else's, nothing inline, in nobody's frame (CSP level 3).
_POLICY = (
    "default-src 'none'; object-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_Scope = MutableMapping[str, Any]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SignInNeededError(Exception):
    """A page was asked for by nobody: they are shown the way to the sign-in, and back."""

    def __init__(self, then: str) -> None:
        super().__init__(then)
        self.then = then


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: with a session, or (at open doors) without."""

    session: SignedIn | None
    address: str
    form: Mapping[str, str]
    program: str = ""  # whose token it is, where it is a program
    masked: bool = False  # patients' names and identifiers are hidden
    browser: str = ""  # in words

    @property
    def signed_in(self) -> SignedIn:
        """The session, behind a door that asks for one.

        Raises:
            HTTPException: 401 without one.
        """
        if self.session is None:
            raise HTTPException(401, "sign in first")
        return self.session

    @property
    def name(self) -> str:
        """What the audit trail calls them."""
        if self.program:
            return f"token:{self.program}"
        return self.session.account.name if self.session else "nobody"


class Gate:
    """Admits visitors, by the rows of `rules`."""

    def __init__(
        self, people: People, worklist: Worklist, clock: Clock, cookie: str, entrance: Entrance | None = None
    ) -> None:
        self.cookie = cookie
        self._access = entrance.access if entrance else Access(())
        self._masked = entrance.masked if entrance else frozenset()
        self._tries = Pace(entrance.tries, clock) if entrance else None
        self._requests = Pace(entrance.requests, clock) if entrance else None
        self._people = people
        self._worklist = worklist
        self._clock = clock

    def router(self) -> APIRouter:
        """For routes that only the admitted reach; they ask `visitor_of` who it is."""
        return APIRouter(dependencies=[Depends(self.admit)])

    async def admit(self, request: Request) -> None:
        """The dependency of every page.

        Raises:
            SignInNeededError: a page, and no session; an interface gets 401 instead.
            HTTPException: 403 for a role that may not or a forged request, 411 and 413 for bodies that no form has.
        """
        rule = rule_of(request.method, request.scope["route"].path)
        address = request.client.host if request.client else ""
        if rule.tries:
            await run_in_threadpool(self._pace, self._tries, place_of(address), address, "nobody", "sign-ins")
        if rule.right and "authorization" in request.headers:
            request.state.visitor = await run_in_threadpool(self._program, request, rule, address)
            return
        token = request.cookies.get(self.cookie, "")
        session = (
            await run_in_threadpool(self._session, token, request.url.path not in _ASKED_BY_PAGES) if token else None
        )
        if rule.door is not Door.OPEN:
            if session is None:
                raise _unknown(request)
            who = session.account.name
            await run_in_threadpool(self._pace, self._requests, digest_of(token), address, who, "requests")
            if rule.door is not Door.HALF and self._people.waits(session):
                raise _half(request)
            await run_in_threadpool(self._require_role, request, rule, session, address)
            _require_not_foreign(request)
        form = {} if request.method in _SAFE else await _form(request)
        if request.method not in _SAFE:
            _require_own(request, form, session)
        roles = session.account.roles if session else frozenset[Role]()
        browser = browser_in_words(request.headers.get("user-agent", ""))
        request.state.visitor = Visitor(session, address, form, masked=self._masks(roles), browser=browser)

    def _program(self, request: Request, rule: Rule, address: str) -> Visitor:
        """Whoever shows a token is known by it alone, whatever cookie comes with it."""
        name = self._access.bearer(request, rule.right).name
        self._pace(self._requests, f"token {name}", address, f"token:{name}", "requests")
        return Visitor(None, address, {}, program=name, masked=self._masks(frozenset({Role.SERVICE})))

    def _masks(self, roles: frozenset[Role]) -> bool:
        return bool(roles) and roles <= self._masked

    def _pace(self, pace: Pace | None, key: str, address: str, who: str, what: str) -> None:
        """Raises 429 where somebody asks too often; the first of a burst is audited."""
        refused = pace.admit(key) if pace is not None else None
        if refused is None:
            return
        if refused.first:
            detail = {"address": address, "reason": f"too many {what}"}
            action = AuditAction.SIGN_IN_REFUSED if what == "sign-ins" else AuditAction.ACCESS_REFUSED
            self._write(who, action, None, detail)
        raise HTTPException(429, "Too many requests. Wait a moment.", {"Retry-After": str(refused.seconds)})

    def record(self, visitor: Visitor, action: AuditAction, uid: str | None = None, /, **detail: object) -> None:
        """Audit what somebody does, before anything is shown: what cannot be audited is not seen.

        Raises:
            HTTPException: 503 while the database is away.
        """
        self._write(visitor.name, action, uid, {"address": visitor.address, **detail})

    def goes_on(self, request: Request) -> bool:
        """Whether the session of a page that stays open has not ended; also while nobody can say."""
        try:
            return self._people.of(request.cookies.get(self.cookie, ""), used=False) is not None
        except WorklistUnavailableError:
            return True

    def _write(self, actor: str, action: AuditAction, uid: str | None, detail: Mapping[str, object]) -> None:
        event = AuditEvent(at=self._clock(), action=action, actor=actor, study_instance_uid=uid, detail=detail)
        with available():
            self._worklist.record_audit(event)

    def _session(self, token: str, used: bool) -> SignedIn | None:
        with available():
            return self._people.of(token, used=used)

    def _require_role(self, request: Request, rule: Rule, session: SignedIn, address: str) -> None:
        if rule.admits(session.account.roles):
            return
        path = request.scope["route"].path
        detail = {"address": address, "method": request.method, "route": path}
        self._write(session.account.name, AuditAction.ACCESS_REFUSED, None, detail)
        raise HTTPException(403, "Your account may not open this page.")


class SafeHeaders:
    """ASGI middleware that puts the headers on every answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: Any, send: _Send) -> None:
        """Pass on, and add the headers to what comes back."""

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


def visitor_of(request: Request) -> Visitor:
    """Who was admitted."""
    visitor: Visitor = request.state.visitor
    return visitor


def is_local(path: str) -> bool:
    """Whether a browser that is sent there stays with us."""
    parts = urlsplit(path)
    return path.startswith("/") and not path.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)


def local_next(request: Request) -> str:
    """Where the browser wanted to go, if that is a page of ours."""
    wanted = request.query_params.get("next", "/")
    return wanted if is_local(wanted) else "/"


def _unknown(request: Request) -> Exception:
    return _elsewhere(request, "/login", "sign in first")


def _half(request: Request) -> Exception:
    return _elsewhere(request, "/second", "give the second factor first")


def _elsewhere(request: Request, page: str, said: str) -> Exception:
    path = request.url.path
    if path.startswith("/api/") or path in _ASKED_BY_PAGES or request.method not in _SAFE:
        return HTTPException(401, said)
    then = path if not request.url.query else f"{path}?{request.url.query}"
    return SignInNeededError(page if then == "/" else f"{page}?next={quote(then, safe='')}")


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form, none of them a file; a later field of one name wins."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "say how long the request is")
    if int(length) > _LONGEST_BODY:
        raise HTTPException(413, "the request is too long")
    async with request.form(max_files=0, max_fields=100) as fields:
        return {name: value for name, value in fields.items() if isinstance(value, str)}


def _require_not_foreign(request: Request) -> None:
    """What an interface answers is for our own pages, or for whoever shows a token."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if request.url.path.startswith("/api/") and site not in {"same-origin", "none"}:
        raise HTTPException(403, "The request came from another site.")


def _require_own(request: Request, form: Mapping[str, str], session: SignedIn | None) -> None:
    """A request that changes something comes from a page of ours: by its origin, and by what only our page knows."""
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    site = request.headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and urlsplit(origin).netloc != host
    if foreign or site not in {"same-origin", "none"}:
        raise HTTPException(403, "The request came from another site.")
    if session is None:
        return
    said = form.get(CSRF_FIELD) or request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(said.encode(), session.csrf.encode()):
        raise HTTPException(403, "The page was too old, or not ours. Reload it and try again.")


class available:  # noqa: N801 - reads as a statement
    """A database that is away is 503, and not a fault of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, WorklistUnavailableError):
            raise HTTPException(503, "The worklist is away. Try again in a moment.", {"Retry-After": "10"}) from None
