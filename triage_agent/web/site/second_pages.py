"""The pages of the second factor: setting it up, and giving it."""

from typing import Protocol

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from triage_agent.domain.accounts import SignedIn
from triage_agent.web.site.gate import Gate, available, local_next, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.people import Begun, People
from triage_agent.web.site.second import LONGEST_CODE, SecondFactor, groups

_WRONG = (
    "The code is wrong, or was used already. Type the one that your authenticator shows now; if that is right, there "
    "were too many tries: wait a minute."
)
_SEE_OTHER = 303


class Cookies(Protocol):
    """Hands the cookie of a session to the browser."""

    def __call__(self, answer: Response, begun: Begun) -> Response:
        """The same answer."""


class SecondPages:
    """The routes."""

    def __init__(self, gate: Gate, people: People, second: SecondFactor, pages: Pages, cookies: Cookies) -> None:
        self.router = gate.router()
        self._cookie = gate.cookie
        self._people = people
        self._second = second
        self._pages = pages
        self._cookies = cookies
        self.router.get("/second")(self.ask)
        self.router.post("/second")(self.give)
        self.router.post("/second/setup")(self.set_up)
        self.router.get("/second/qr")(self.picture)

    def ask(self, request: Request) -> Response:
        """The form for a code, or for setting it up; whoever gave one goes on."""
        session = visitor_of(request).signed_in
        if session.account.totp_secret is None:
            return self._offer(request, self._second.offer(session.account))
        return self._ask(request) if self._second.waits(session) else self._on(request)

    def give(self, request: Request) -> Response:
        """A code of the authenticator, or a recovery code."""
        visitor = visitor_of(request)
        if not self._second.waits(visitor.signed_in):
            return self._on(request)
        code = visitor.form.get("code", "")[:LONGEST_CODE]
        with available():
            token, browser = self._token(request), visitor.browser
            begun = self._people.prove(visitor.signed_in, code, token, visitor.address, browser)
        return self._ask(request, _WRONG) if begun is None else self._cookies(self._on(request), begun)

    def set_up(self, request: Request) -> Response:
        """The first code of a new secret; the recovery codes are shown this once."""
        visitor = visitor_of(request)
        session, sealed = visitor.signed_in, visitor.form.get("sealed", "")[:1000]
        code = visitor.form.get("code", "")[:LONGEST_CODE]
        with available():
            token, browser = self._token(request), visitor.browser
            made = self._people.set_up(session, sealed, code, token, visitor.address, browser)
        if made is None:
            known = self._second.offered(session.account, sealed) is not None
            return self._offer(request, sealed if known else self._second.offer(session.account), _WRONG)
        codes, begun = made
        shown = [groups(one) for one in codes]
        answer = self._pages.show("recovery.html", None, codes=shown, then=local_next(request))
        return answer if begun is None else self._cookies(answer, begun)

    def picture(self, request: Request, sealed: str = "") -> Response:
        """The QR code of what is offered."""
        drawn = self._second.picture(self._session(request).account, sealed[:1000])
        if drawn is None:
            raise HTTPException(404, "This offer is too old. Load the page again.")
        return Response(drawn, media_type="image/svg+xml")

    @staticmethod
    def _session(request: Request) -> SignedIn:
        return visitor_of(request).signed_in

    def _token(self, request: Request) -> str:
        return request.cookies.get(self._cookie, "")

    @staticmethod
    def _on(request: Request) -> Response:
        return RedirectResponse(local_next(request), _SEE_OTHER)

    def _ask(self, request: Request, wrong: str = "") -> Response:
        status = 403 if wrong else 200
        return self._pages.show(
            "second.html", visitor_of(request), status, wrong=wrong, then=local_next(request), half=True
        )

    def _offer(self, request: Request, sealed: str, wrong: str = "") -> Response:
        secret = self._second.offered(self._session(request).account, sealed) or ""
        return self._pages.show(
            "setup.html",
            visitor_of(request),
            403 if wrong else 200,
            wrong=wrong,
            sealed=sealed,
            half=self._second.waits(visitor_of(request).signed_in),
            secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
            then=local_next(request),
        )
