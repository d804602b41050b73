"""The pages of accounts: one's own with its open sessions, and for admins everybody's."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from triage_agent.domain.accounts import Account, Accounts, Source
from triage_agent.domain.ports import Clock
from triage_agent.domain.sessions import OpenSession, Sessions
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.web.site.gate import Gate, Visitor, available, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.people import People, digest_of, is_name

_MOST = 100  # sessions on a page, the last used ones
_OTHERS = "others"
_SEE_OTHER = 303


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A session as a page shows it.

    Attributes:
        handle: what a form says to mean it: made of what the database knows, which is no cookie's value either.
        here: it is the one that asks.
        half: the second factor has not been given.
    """

    handle: str
    session: OpenSession
    here: bool
    half: bool


class AccountPages:
    """The routes."""

    def __init__(
        self, gate: Gate, people: People, accounts: Accounts, sessions: Sessions, pages: Pages, clock: Clock
    ) -> None:
        self.router = gate.router()
        self._gate = gate
        self._people = people
        self._accounts = accounts
        self._sessions = sessions
        self._pages = pages
        self._clock = clock
        get, post = self.router.get, self.router.post
        get("/account")(self.own)
        post("/account/sessions/end")(self.end_own)
        get("/accounts")(self.everybody)
        get("/accounts/{name}")(self.somebody)
        post("/accounts/{name}/sessions/end")(self.end_somebodys)

    def own(self, request: Request) -> Response:
        """One's own account."""
        visitor = visitor_of(request)
        account = visitor.signed_in.account
        return self._show(request, account, "/account")

    def end_own(self, request: Request) -> Response:
        """End one of one's own sessions, or all others."""
        visitor = visitor_of(request)
        self._end(request, visitor.signed_in.account, kept=self._here(request))
        return RedirectResponse("/account", _SEE_OTHER)

    def everybody(self, request: Request) -> Response:
        """All accounts, and how many sessions each has open."""
        visitor, now = visitor_of(request), self._clock()
        with available():
            accounts = self._accounts.accounts()
            numbers = self._sessions.number(now, self._people.idle_since(now))
        self._gate.record(visitor, AuditAction.ACCOUNTS_LISTED, accounts=len(accounts))
        return self._pages.show("accounts.html", visitor, accounts=accounts, numbers=numbers, now=now)

    def somebody(self, request: Request, name: str) -> Response:
        """Somebody's account."""
        account = self._account(name)
        self._gate.record(visitor_of(request), AuditAction.ACCOUNTS_LISTED, account=account.name)
        return self._show(request, account, f"/accounts/{account.name}")

    def end_somebodys(self, request: Request, name: str) -> Response:
        """End one of somebody's sessions, or all; the admin's own goes on."""
        account = self._account(name)
        self._end(request, account, kept=self._here(request))
        return RedirectResponse(f"/accounts/{account.name}", _SEE_OTHER)

    def _account(self, name: str) -> Account:
        with available():
            account = self._accounts.account(name) if is_name(name) else None
        if account is None:
            raise HTTPException(404, "There is no such account.")
        return account

    def _end(self, request: Request, account: Account, kept: str) -> None:
        visitor, now = visitor_of(request), self._clock()
        wanted, given = visitor.form.get("session", ""), (visitor.name, visitor.address, now)
        with available():
            if wanted == _OTHERS:
                self._sessions.end_others(account.name, kept, *given)
                return
            meant = [one.session.digest for one in self._shown(request, account) if one.handle == wanted]
            ended = self._sessions.end(account.name, meant, *given)
        if not ended:
            raise HTTPException(409, "This session has ended already.")

    def _show(self, request: Request, account: Account, path: str) -> Response:
        visitor = visitor_of(request)
        with available():
            shown, left = self._shown(request, account), self._people.recovery_left(account)
        return self._pages.show(
            "account.html",
            visitor,
            account=account,
            own=_is_own(visitor, account) and path == "/account",
            local=account.source is Source.LOCAL,
            path=path,
            sessions=shown,
            recovery_left=left,
            others=any(not one.here for one in shown),
        )

    def _shown(self, request: Request, account: Account) -> Sequence[Shown]:
        now, here = self._clock(), self._here(request)
        found = self._sessions.open_of(account.name, now, self._people.idle_since(now), _MOST)
        return [
            Shown(
                handle=_handle(one.digest),
                session=one,
                here=one.digest == here,
                half=self._people.asks_twice(account) and not one.strong,
            )
            for one in found
        ]

    def _here(self, request: Request) -> str:
        return digest_of(request.cookies.get(self._gate.cookie, ""))


def _is_own(visitor: Visitor, account: Account) -> bool:
    return visitor.signed_in.account.name == account.name


def _handle(digest: str) -> str:
    return hashlib.sha256(f"session {digest}".encode()).hexdigest()[:16]
