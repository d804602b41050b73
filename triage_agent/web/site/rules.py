"""Who may ask for what: one row for every route and method of the web server. A route without a row is not served."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from fastapi import FastAPI

from triage_agent.domain.accounts import Role


class Door(StrEnum):
    """What stands before a route whose row names no roles."""

    OPEN = "open"  # anybody
    OWN = "own"  # the service admits its callers itself (bearer tokens, certificates)
    HALF = "half"  # whoever has given a password, also where the second factor is still to come
    SIGNED_IN = "signed_in"  # whoever has an account, whatever it may do


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a route.

    Attributes:
        right: what a program's token must say to be let in instead; empty where no program is.
        tries: somebody tries to prove who it is: one address may so often.
    """

    door: Door = Door.SIGNED_IN
    roles: frozenset[Role] = frozenset()
    right: str = ""
    tries: bool = False

    def admits(self, roles: frozenset[Role]) -> bool:
        """Whether somebody who is signed in may."""
        return not self.roles or bool(self.roles & roles)


_READERS = Rule(roles=frozenset({Role.RADIOLOGIST, Role.ADMIN, Role.AUDITOR}))
_RADIOLOGISTS = Rule(roles=frozenset({Role.RADIOLOGIST}))
_AUDITORS = Rule(roles=frozenset({Role.ADMIN, Role.AUDITOR}))
_ADMINS = Rule(roles=frozenset({Role.ADMIN}))
_TRIES = Rule(Door.OPEN, tries=True)
_ANYBODY, _OWN, _HALF, _SIGNED_IN = Rule(Door.OPEN), Rule(Door.OWN), Rule(Door.HALF), Rule(Door.SIGNED_IN)

RULES: dict[tuple[str, str], Rule] = {
    ("GET", "/healthz"): _ANYBODY,
    ("GET", "/readyz"): _ANYBODY,
    ("GET", "/metrics"): _ANYBODY,
    ("GET", "/static/{version}/{name}"): _ANYBODY,
    ("GET", "/login"): _ANYBODY,
    ("POST", "/login"): _TRIES,
    ("GET", "/first/{secret}"): _TRIES,
    ("POST", "/first/{secret}"): _TRIES,
    ("GET", "/oidc/start"): _TRIES,
    ("GET", "/oidc/back"): _TRIES,
    ("POST", "/logout"): _HALF,
    ("GET", "/second"): _HALF,
    ("POST", "/second"): Rule(Door.HALF, tries=True),
    ("POST", "/second/setup"): Rule(Door.HALF, tries=True),
    ("GET", "/second/qr"): _HALF,
    ("GET", "/password"): _SIGNED_IN,
    ("POST", "/password"): Rule(tries=True),
    ("GET", "/account"): _SIGNED_IN,
    ("POST", "/account/sessions/end"): _SIGNED_IN,
    ("GET", "/accounts"): _ADMINS,
    ("GET", "/accounts/{name}"): _ADMINS,
    ("POST", "/accounts/{name}/sessions/end"): _ADMINS,
    ("GET", "/"): _READERS,
    ("GET", "/live"): _READERS,
    ("GET", "/condition"): _READERS,
    ("GET", "/api/worklist"): replace(_READERS, right="worklist"),
    ("POST", "/views"): _READERS,
    ("POST", "/views/{number}/remove"): _READERS,
    ("GET", "/studies/{uid}"): _READERS,
    ("GET", "/studies/{uid}/images/{image}"): _READERS,
    ("GET", "/studies/{uid}/evidence"): _READERS,
    ("POST", "/studies/{uid}/retry"): Rule(roles=frozenset({Role.RADIOLOGIST, Role.ADMIN})),
    ("POST", "/studies/{uid}/claim"): _RADIOLOGISTS,
    ("POST", "/studies/{uid}/release"): _RADIOLOGISTS,
    ("POST", "/studies/{uid}/read"): _RADIOLOGISTS,
    ("POST", "/studies/{uid}/unread"): _RADIOLOGISTS,
    ("POST", "/studies/{uid}/feedback"): _RADIOLOGISTS,
    ("GET", "/dashboard"): _READERS,
    ("POST", "/feedback/export"): _ADMINS,
    ("GET", "/audit"): _AUDITORS,
    ("GET", "/api/audit"): replace(_AUDITORS, right="audit"),
    ("GET", "/audit/export"): _AUDITORS,
    ("GET", "/audit/chain"): _AUDITORS,
    ("GET", "/api/audit/chain"): _AUDITORS,
    ("POST", "/audit/verify"): _AUDITORS,
    ("GET", "/studies/{uid}/story"): _AUDITORS,
}
_SERVICES = ("/dicom-web/", "/dicom-web")  # each of their routes asks `Access`


def rule_of(method: str, path: str) -> Rule:
    """The row of a route, by its path as it was declared.

    Raises:
        KeyError: there is none.
    """
    if path.startswith(_SERVICES):
        return _OWN
    return RULES["GET" if method == "HEAD" else method, path]


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route, as OpenAPI lists them."""
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


def require_rows(app: FastAPI) -> None:
    """Refuse to serve an application with a route that nobody thought about.

    Raises:
        LookupError: names the route.
    """
    for method, path in routes_of(app):
        try:
            rule_of(method, path)
        except KeyError:
            raise LookupError(f"{method} {path} has no row in web.site.rules") from None
