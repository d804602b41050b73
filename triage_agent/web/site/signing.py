"""The pages of signing in and out, and of passwords."""

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from triage_agent.web.site.gate import Gate, Visitor, available, local_next, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.people import Begun, People
from triage_agent.web.site.weakness import LONGEST

_WRONG = "The name or the password is wrong. If both are right, there were too many tries: wait a minute."
_SET = {
    "first": "Your password is set. Sign in with it.",
    "changed": "Your password is changed, and every session has ended. Sign in with the new one.",
}
_DIFFER = "The two are not the same."
_SEE_OTHER = 303


class Signing:
    """The routes."""

    def __init__(self, gate: Gate, people: People, pages: Pages, *, secure: bool, provider: str = "") -> None:
        """`provider` is what the button of an identity provider says; empty where there is none."""
        self.router = gate.router()
        self._gate = gate
        self._people = people
        self._pages = pages
        self._secure = secure
        self._provider = provider
        get, post = self.router.get, self.router.post
        get("/login")(self.ask)
        post("/login")(self.sign_in)
        post("/logout")(self.sign_out)
        get("/first/{secret}")(self.first)
        post("/first/{secret}")(self.choose)
        get("/password")(self.password)
        post("/password")(self.change)

    def ask(self, request: Request) -> Response:
        """The form; whoever is signed in goes on."""
        if visitor_of(request).session is not None:
            return RedirectResponse(local_next(request), _SEE_OTHER)
        return self._ask(request)

    def sign_in(self, request: Request) -> Response:
        """Name and password."""
        visitor = visitor_of(request)
        name, password = visitor.form.get("name", "")[:200], visitor.form.get("password", "")[: LONGEST + 1]
        with available():
            begun = self._people.sign_in(name, password, visitor.address, visitor.browser)
        if begun is None:
            return self._ask(request, wrong=_WRONG, status=403)
        return self.hand_out(RedirectResponse(local_next(request), _SEE_OTHER), begun)

    def sign_out(self, request: Request) -> Response:
        """End the session, and forget the cookie."""
        with available():
            self._people.sign_out(request.cookies.get(self._gate.cookie, ""))
        answer = RedirectResponse("/login", _SEE_OTHER, {"Clear-Site-Data": '"storage"'})
        answer.delete_cookie(self._gate.cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return answer

    def first(self, request: Request, secret: str) -> Response:
        """The form of a one-time link."""
        return self._first(visitor_of(request), secret)

    def choose(self, request: Request, secret: str) -> Response:
        """The password that a link's owner chooses."""
        visitor = visitor_of(request)
        chosen = visitor.form.get("password", "")
        if chosen != visitor.form.get("again", ""):
            return self._first(visitor, secret, wrong=_DIFFER)
        with available():
            wrong = self._people.use_link(secret, chosen)
        return (
            RedirectResponse("/login?set=first", _SEE_OTHER) if wrong is None else self._first(visitor, secret, wrong)
        )

    def password(self, request: Request) -> Response:
        """The form for another password."""
        return self._pages.show("password.html", visitor_of(request), wrong="")

    def change(self, request: Request) -> Response:
        """One's own password; every session of the account ends."""
        visitor = visitor_of(request)
        new, wrong = visitor.form.get("password", ""), _DIFFER
        if new == visitor.form.get("again", ""):
            with available():
                old = visitor.form.get("old", "")[: LONGEST + 1]
                wrong = self._people.change_password(visitor.signed_in.account, old, new, visitor.address) or ""
        if wrong:
            return self._pages.show("password.html", visitor, 400, wrong=wrong)
        return RedirectResponse("/login?set=changed", _SEE_OTHER)

    def _ask(self, request: Request, wrong: str = "", status: int = 200) -> Response:
        then, done = local_next(request), "" if wrong else _SET.get(request.query_params.get("set", ""), "")
        return self._pages.show(
            "login.html", visitor_of(request), status, wrong=wrong, done=done, then=then, provider=self._provider
        )

    def hand_out(self, answer: Response, begun: Begun) -> Response:
        """Give the browser the cookie of a session."""
        answer.set_cookie(
            self._gate.cookie,
            begun.token,
            max_age=int(begun.lasts.total_seconds()),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    def _first(self, visitor: Visitor, secret: str, wrong: str = "") -> Response:
        with available():
            owner = self._people.owner_of_link(secret)
        status = 404 if owner is None else (400 if wrong else 200)
        return self._pages.show("first.html", visitor, status, owner=owner, wrong=wrong)
