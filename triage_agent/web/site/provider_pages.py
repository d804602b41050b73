"""Signing in by the site's identity provider: out to it, and back."""

import json
import secrets
import threading
from collections import OrderedDict

from fastapi import HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from triage_agent.domain.accounts import Accounts
from triage_agent.domain.ports import Clock
from triage_agent.web.site.gate import Gate, Visitor, available, is_local, local_next, visitor_of
from triage_agent.web.site.pages import Pages
from triage_agent.web.site.people import Begun, People, digest_of, is_name
from triage_agent.web.site.provider import Errand, NotVouchedError, Provider
from triage_agent.web.site.sealing import Seal
from triage_agent.web.site.second_pages import Cookies

_SEE_OTHER = 303
_ERRAND_SECONDS = 600
_MOST_USED = 10_000  # states of the last minutes, so that none comes back twice
_LONGEST = 4096
_REFUSED = "The identity provider did not let you in here. Try again, or ask an admin."
_AWAY = "The identity provider does not answer as it should. Try again in a moment."


class ProviderPages:
    """The routes; without a provider there is no such page."""

    def __init__(
        self,
        gate: Gate,
        people: People,
        accounts: Accounts,
        pages: Pages,
        provider: Provider | None,
        seal: Seal,
        clock: Clock,
        hand_out: Cookies,
    ) -> None:
        self.router = gate.router()
        self._people = people
        self._accounts = accounts
        self._pages = pages
        self._provider = provider
        self._seal = seal
        self._clock = clock
        self._hand_out = hand_out
        self._secure = gate.cookie.startswith("__Host-")
        self._cookie = f"{gate.cookie}-errand"
        self._used: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.router.get("/oidc/start")(self.start)
        self.router.get("/oidc/back")(self.back)

    def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        errand = Errand(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        try:
            answer = RedirectResponse(self._known().address(errand), _SEE_OTHER)
        except NotVouchedError as error:
            return self._refuse(request, str(error), _AWAY, 503)
        kept = json.dumps([errand.state, errand.nonce, errand.verifier, local_next(request)[:500]])
        answer.set_cookie(
            self._cookie,
            self._seal.close("errand", kept),
            max_age=_ERRAND_SECONDS,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )
        return answer

    def back(self, request: Request, code: str = "", state: str = "", iss: str = "") -> Response:
        """The browser comes back with a code, or with a reason why there is none."""
        provider = self._known()
        try:
            errand, then = self._errand(request, state)
            begun = self._sign_in(provider, code, errand, iss, visitor_of(request))
        except NotVouchedError as error:
            return self._refuse(request, str(error), _REFUSED, 403)
        answer = self._hand_out(RedirectResponse(then, _SEE_OTHER), begun)
        self._forget(answer)
        return answer

    def _known(self) -> Provider:
        if self._provider is None:
            raise HTTPException(404, "There is no such page.")
        return self._provider

    def _errand(self, request: Request, state: str) -> tuple[Errand, str]:
        """What this browser was sent with; good once.

        Raises:
            NotVouchedError: it was not sent by us, not with that state, too long ago, or has been back already.
        """
        kept = self._seal.open("errand", request.cookies.get(self._cookie, "")[:_LONGEST], _ERRAND_SECONDS)
        if kept is None:
            raise NotVouchedError("the browser was not sent by us, or too long ago")
        known, nonce, verifier, then = json.loads(kept)
        if not secrets.compare_digest(known.encode(), state.encode("utf-8", "replace")):
            raise NotVouchedError("the browser came back with another state")
        with self._lock:
            if known in self._used:
                raise NotVouchedError("the browser came back twice")
            self._used[known] = None
            while len(self._used) > _MOST_USED:
                self._used.popitem(last=False)
        return Errand(known, nonce, verifier), then if is_local(then) else "/"

    def _sign_in(self, provider: Provider, code: str, errand: Errand, issuer: str, visitor: Visitor) -> Begun:
        if not code or len(code) > _LONGEST:
            raise NotVouchedError("the provider sent no code")
        found = provider.vouched(code, errand, issuer)
        if not is_name(found.name):
            raise NotVouchedError("the provider's name for the person cannot be an account's")
        with available():
            name = self._accounts.vouch(found.name, digest_of(found.subject), found.roles, self._clock())
            if name is None:
                what = "the name is another account's" if found.roles else "no role comes of the person's groups"
                raise NotVouchedError(what)
            begun = self._people.begin(name, visitor.address, visitor.browser, strong=True)
        if begun is None:
            raise NotVouchedError("the account is disabled")
        return begun

    def _refuse(self, request: Request, why: str, said: str, status: int) -> Response:
        visitor = visitor_of(request)
        with available():
            self._accounts.sign_in_refused("", visitor.address, f"identity provider: {why}", self._clock(), None)
        answer = self._pages.show("refused.html", None, status, said=said, title="Not signed in")
        self._forget(answer)
        return answer

    def _forget(self, answer: Response) -> None:
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
