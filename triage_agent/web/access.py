"""Who may use a service: known by a bearer token (RFC 6750), each with rights of its own, or by TLS alone."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from fastapi import HTTPException
from starlette.requests import HTTPConnection

from triage_agent.dimse.throttle import Throttle

log = structlog.get_logger(__name__)

ANYBODY = "DICOMWEB"  # what a caller is called who is known by its certificate alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody with a token."""

    name: str
    token: str = field(repr=False)
    may: frozenset[str]


class Access:
    """Admits callers."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        """Without any caller everybody is admitted: then TLS has asked for a certificate."""
        self._callers = [(_digest(caller.token), caller) for caller in callers]
        self._throttle = Throttle(limit=10, seconds=60.0)

    def admit(self, request: HTTPConnection, right: str) -> str:
        """The caller's name.

        Raises:
            HTTPException: 401 without a token that is known, 403 where its owner may not do this.
        """
        return self.known(request, right).name

    def known(self, request: HTTPConnection, *rights: str) -> Caller:
        """The caller, who has one of the rights; raises as `admit` does."""
        if not self._callers:
            return Caller(name=ANYBODY, token="", may=frozenset(rights))  # known by TLS # nosec B106
        return self.bearer(request, *rights)

    def bearer(self, request: HTTPConnection, *rights: str) -> Caller:
        """A caller who has a token with one of the rights; nobody is admitted without one. Raises as `admit` does."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        said = _digest(token.strip()) if scheme.lower() == "bearer" else b""
        found = [caller for digest, caller in self._callers if hmac.compare_digest(digest, said)]
        if not found:
            self._refuse(request, "unknown token" if said else "no token")
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": 'Bearer realm="triage-agent"'})
        if not found[0].may & set(rights):
            self._refuse(request, f"{found[0].name} may not {rights[0]}")
            raise HTTPException(403, f"this token may not {rights[0]}")
        return found[0]

    def _refuse(self, request: HTTPConnection, why: str) -> None:
        address = address_of(request)
        if (held := self._throttle.admit(address)) is not None:
            log.warning("web_access_refused", address=address, why=why, held_back=held)


def address_of(request: HTTPConnection) -> str:
    """Where a request comes from; "" where that is not known."""
    return request.client.host if request.client else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
