"""The table of the site's identity provider."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from triage_agent.domain.accounts import Role
from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.roles import Person


class OidcSettings(Section):
    """Who vouches for people besides us, by OpenID Connect."""

    issuer: str = Field(pattern=r"^https?://[^\s?#@]+$")
    client_id: str = Field(min_length=1)
    client_secret: str = ""
    label: str = Field(default="Sign in with the hospital's account", min_length=1, max_length=60)
    name_claim: str = Field(default="preferred_username", min_length=1)
    roles_claim: str = Field(default="groups", min_length=1)
    roles: dict[Person, tuple[str, ...]] = Field(min_length=1)
    scopes: tuple[str, ...] = ("openid", "profile")
    amr: tuple[str, ...] = ()
    ca: Path | None = None
    timeout_seconds: float = Field(default=10, gt=0, le=60)

    @model_validator(mode="after")
    def _can_be_trusted(self) -> Self:
        parts = urlsplit(self.issuer)
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("issuer is an http url: whoever is in between could say who anybody is; give an https url")
        if "openid" not in self.scopes:
            raise ValueError('scopes has no "openid", without which no provider says who somebody is; add it')
        return self

    def groups(self) -> dict[Role, frozenset[str]]:
        """Which groups make somebody what."""
        return {Role(role): frozenset(names) for role, names in self.roles.items()}
