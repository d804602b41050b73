"""Who may use a service: known by a bearer token (RFC 6750), each with rights of its own, or by TLS alone."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog
from fastapi import HTTPException, Request

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

    def admit(self, request: Request, right: str) -> str:
        """The caller's name.

        Raises:
            HTTPException: 401 without a token that is known, 403 where its owner may not do this.
        """
        return self.known(request, right) if self._callers else ANYBODY

    def known(self, request: Request, right: str) -> str:
        """The name of a caller who has a token; nobody is admitted without one.

        Raises:
            HTTPException: 401 without a token that is known, 403 where its owner may not do this.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        said = _digest(token.strip()) if scheme.lower() == "bearer" else b""
        found = [caller for digest, caller in self._callers if hmac.compare_digest(digest, said)]
        if not found:
            self._refuse(request, "unknown token" if said else "no token")
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": 'Bearer realm="triage-agent"'})
        if right not in found[0].may:
            self._refuse(request, f"{found[0].name} may not {right}")
            raise HTTPException(403, f"this token may not {right}")
        return found[0].name

    def _refuse(self, request: Request, why: str) -> None:
        address = request.client.host if request.client else ""
        if (held := self._throttle.admit(address)) is not None:
            log.warning("web_access_refused", address=address, why=why, held_back=held)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
