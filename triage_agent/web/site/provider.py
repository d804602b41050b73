"""An identity provider: OpenID Connect Core 1.0, authorisation code with PKCE (RFC 7636). Knows nothing of accounts.

Whatever the provider's answers hold is bounded by the HTTP client, checked here, and never repeated in a message.
"""

import base64
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from triage_agent.delivery.endpoint import Endpoint, HttpAccess
from triage_agent.delivery.http import Answer, HttpClient
from triage_agent.domain.accounts import Role
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.ports import Clock

ALGORITHMS = ("RS256", "PS256", "ES256")  # asymmetric ones alone: never `none`, never our own secret as the key
_PORTS = {"http": 80, "https": 443}
_KEPT = timedelta(hours=1)
_KEYS_AGAIN = timedelta(minutes=1)  # an unknown key is asked for no more often
_LEEWAY_SECONDS = 60
_OK = 200
_LONGEST_TOKEN = 64 * 1024
_AT_ONCE = 4  # a provider that does not answer must not take every thread of ours


class NotVouchedError(Exception):
    """The provider does not vouch for whoever came; the message is ours, and has nothing of what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A provider, and what its claims mean here.

    Attributes:
        redirect: our own address that the provider sends browsers back to.
        roles_claim: where a person's groups stand; dots lead into objects.
        roles: which groups make somebody what.
        amr: authentication methods (RFC 8176) of which one must have been used, such as "mfa"; empty for any.
    """

    issuer: str
    client_id: str
    redirect: str
    client_secret: str = field(default="", repr=False)
    roles_claim: str = "groups"
    name_claim: str = "preferred_username"
    roles: Mapping[Role, frozenset[str]] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("openid", "profile")
    amr: frozenset[str] = frozenset()
    ca: Path | None = None
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Whom the provider vouches for."""

    subject: str
    name: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Errand:
    """What a browser is sent to the provider with, and must come back with."""

    state: str
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


class Provider:
    """Asks one provider; safe to share between threads."""

    def __init__(self, settings: ProviderSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.RLock()  # the keys are asked for where the description says
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._known: dict[str, tuple[datetime, Any]] = {}

    def check(self) -> str:
        """What it says of itself, for `check`.

        Raises:
            NotVouchedError: it cannot be used, and why.
        """
        self._endpoint("authorization_endpoint")
        self._endpoint("token_endpoint")
        number = len(self._keys().keys)
        return f"{self._settings.issuer} answers, with {number} key{'' if number == 1 else 's'}"

    def address(self, errand: Errand) -> str:
        """Where the browser goes.

        Raises:
            NotVouchedError: the provider cannot be asked.
        """
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect,
            "scope": " ".join(self._settings.scopes),
            "state": errand.state,
            "nonce": errand.nonce,
            "code_challenge": create_s256_code_challenge(errand.verifier),
            "code_challenge_method": "S256",
        }
        begin = self._endpoint("authorization_endpoint")
        return f"{begin}{'&' if '?' in begin else '?'}{urlencode(asked)}"

    def vouched(self, code: str, errand: Errand, issuer: str = "") -> Vouched:
        """Who it is that came back with a code; `issuer` is what the address said of who sent them (RFC 9207).

        Raises:
            NotVouchedError: nobody, and why.
        """
        said_so = self._discovered().get("authorization_response_iss_parameter_supported") is True
        if (issuer or said_so) and issuer != self._settings.issuer:
            raise NotVouchedError("another provider sent the browser back")
        token = self._exchange(code, errand.verifier)
        return self._person(self._claims(token, errand.nonce))

    def _exchange(self, code: str, verifier: str) -> str:
        """The ID token for a code (RFC 6749 section 4.1.3)."""
        settings = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.redirect,
            "code_verifier": verifier,
            "client_id": settings.client_id,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        methods = self._discovered().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if settings.client_secret and "client_secret_basic" in methods:
            headers["Authorization"] = _basic(settings.client_id, settings.client_secret)
        elif settings.client_secret:
            form["client_secret"] = settings.client_secret
        content = [urlencode(form).encode()]
        answer = self._ask("POST", self._endpoint("token_endpoint"), headers, content)
        token = _object(answer, "its token endpoint").get("id_token")
        if not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise NotVouchedError("the provider gave no ID token")
        return token

    def _claims(self, token: str, nonce: str) -> Mapping[str, Any]:
        """What a token says, if it is the provider's, for us, of now, and an answer to what we asked."""
        settings = self._settings
        options = {
            "iss": {"essential": True, "value": settings.issuer},
            "aud": {"essential": True, "value": settings.client_id},
        }
        try:
            decoded = self._decoded(token)
            claims = CodeIDToken(
                decoded.claims, decoded.header, options, {"nonce": nonce, "client_id": settings.client_id}
            )
            claims.validate(now=int(self._clock().timestamp()), leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise NotVouchedError(f"the ID token is not valid ({_what(error)})") from None
        if settings.amr and not settings.amr & set(_texts(claims.get("amr"))):
            raise NotVouchedError("the provider did not ask for a second factor")
        return dict(claims)

    def _decoded(self, token: str) -> jwt.Token:
        try:
            return jwt.decode(token, self._keys(), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            # Providers change their keys: they are asked for once more, unless they were just now.
            return jwt.decode(token, self._keys(_KEYS_AGAIN), algorithms=list(ALGORITHMS))

    def _person(self, claims: Mapping[str, Any]) -> Vouched:
        subject, name = claims["sub"], claims.get(self._settings.name_claim)
        if not isinstance(subject, str) or not isinstance(name, str):
            raise NotVouchedError("the ID token names nobody")
        groups: Any = claims
        for part in self._settings.roles_claim.split("."):
            groups = groups.get(part) if isinstance(groups, Mapping) else None
        theirs = set(_texts(groups))
        roles = frozenset(role for role, wanted in self._settings.roles.items() if wanted & theirs)
        return Vouched(subject=f"{self._settings.issuer}\n{subject}", name=name.strip().lower(), roles=roles)

    def _discovered(self) -> Mapping[str, Any]:
        """The provider's own description (OpenID Connect Discovery 1.0)."""
        return self._kept("description", _KEPT, self._discover)  # type: ignore[no-any-return]

    def _discover(self) -> Mapping[str, Any]:
        issuer = self._settings.issuer
        answer = self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        described = _object(answer, "its description")
        if described.get("issuer") != issuer:
            raise NotVouchedError("the provider's description is of another issuer")
        return described

    def _keys(self, kept: timedelta = _KEPT) -> KeySet:
        return self._kept("keys", kept, self._fetch_keys)  # type: ignore[no-any-return]

    def _fetch_keys(self) -> KeySet:
        keys = _object(self._ask("GET", self._endpoint("jwks_uri")), "its keys")
        try:
            return KeySet.import_key_set(keys)  # type: ignore[arg-type]
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            raise NotVouchedError("the provider's keys cannot be used") from None

    def _kept(self, what: str, lasts: timedelta, fetch: Callable[[], Any]) -> Any:
        """What is known, asked for anew when it is too old; while one asks the others wait for it."""
        if not self._lock.acquire(timeout=self._settings.timeout_seconds):
            raise NotVouchedError("the provider is slow, and others wait for it")
        try:
            at, known = self._known.get(what, (None, None))
            now = self._clock()
            if at is None or now - at >= lasts:
                known = fetch()
                self._known[what] = (now, known)
            return known
        finally:
            self._lock.release()

    def _endpoint(self, name: str) -> str:
        said = self._discovered().get(name)
        url = said if isinstance(said, str) else ""
        safe = url.isascii() and url.isprintable() and " " not in url
        if not safe or urlsplit(url).scheme != urlsplit(self._settings.issuer).scheme:
            raise NotVouchedError(f"the provider's description has no {name} that can be used")
        return url

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, content: list[bytes] | None = None
    ) -> Answer:
        """One exchange, on a connection of its own."""
        if not self._places.acquire(blocking=False):
            raise NotVouchedError("the provider is slow, and others wait for it")
        client = HttpClient(_reached(url, self._settings))
        try:
            parts = urlsplit(url)
            return client.ask(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers, content)
        except (DeliveryError, ValueError):
            raise NotVouchedError("the provider does not answer") from None
        finally:
            client.close()
            self._places.release()


def _reached(url: str, settings: ProviderSettings) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise NotVouchedError("the provider names an address that is none")
    secure = parts.scheme == "https"
    return Endpoint(
        name="identity provider",
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        connect_seconds=settings.timeout_seconds / 2,
        answer_seconds=settings.timeout_seconds / 2,
        http=HttpAccess(secure=secure, ca=settings.ca if secure else None),
    )


def _object(answer: Answer, what: str) -> Mapping[str, Any]:
    try:
        said = json.loads(answer.body) if answer.status == _OK else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise NotVouchedError(f"the provider did not give {what} (HTTP {answer.status})")
    return said


def _texts(value: object) -> list[str]:
    """A claim of several words, or of one."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def _basic(user: str, password: str) -> str:
    """RFC 6749 section 2.3.1: both are form-encoded first."""
    both = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return "Basic " + base64.b64encode(both.encode()).decode()


def _what(error: Exception) -> str:
    """The library's word for what is wrong, which has nothing of the token."""
    word = getattr(error, "error", None)
    claim = getattr(error, "claim", None)
    said = " ".join(str(part) for part in (word, claim) if part)
    return said or type(error).__name__
