"""The tables of what answers HTTP: probes, and DICOMweb where a site wants it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from triage_agent.domain.accounts import Role
from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.http import BEARER
from triage_agent.sections.oidc import OidcSettings
from triage_agent.sections.roles import Person

_LESS = {"ups": "query"}  # who only looks
_SHORTEST_TOKEN = 20  # characters; `openssl rand -hex 32` gives 64
_SHORTEST_KEY = 32


class WebTokenSettings(Section):
    """A program that may use our services and interfaces, known by a bearer token."""

    name: str = Field(pattern=r"^[ -\[\]-~]{1,16}$")
    token: str = ""
    may: tuple[Literal["store", "read", "query", "ups", "worklist", "audit"], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_hard_to_guess(self) -> Self:
        """Of the table as a whole, so that no message repeats the token."""
        if len(self.token) < _SHORTEST_TOKEN or not BEARER.fullmatch(self.token):
            raise ValueError(
                f"the token of {self.name!r} is none: give {_SHORTEST_TOKEN} or more characters that a bearer token "
                "may have, such as `openssl rand -hex 32` prints"
            )
        return self


class WebTlsSettings(Section):
    """TLS for everything that is answered over HTTP, PEM files each; with `ca` every caller must have a certificate."""

    certificate: Path
    key: Path
    ca: Path | None = None


class WebSettings(Section):
    """Where health, readiness and metrics answer, and what else does."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    tls: WebTlsSettings | None = None
    pages: bool = True
    public_url: str = Field(default="", pattern=r"^(https?://[^/?#\s]+/?)?$")
    pacs_link: str = Field(default="", pattern=r"^(https?://\S+)?$")
    idle_minutes: float = Field(default=60, ge=1, le=24 * 60)
    session_hours: float = Field(default=12, ge=0.1, le=24 * 7)
    second_factor: tuple[Person, ...] = (Role.ADMIN, Role.AUDITOR)
    secrets_key: str = ""
    oidc: OidcSettings | None = None
    mask_names_for: tuple[Role, ...] = ()
    refused_passwords_file: str = ""
    sign_ins_per_minute: int = Field(default=60, ge=5, le=10_000)
    requests_per_minute: int = Field(default=1200, ge=60, le=100_000)
    stow: bool = False
    results: bool = False
    ups: bool = False
    tokens: tuple[WebTokenSettings, ...] = ()

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us by https: here, or at a proxy before us."""
        return self.public_url.startswith("https://") or (self.tls is not None and not self.public_url)

    @property
    def is_plain(self) -> bool:
        """Whether passwords, cookies and tokens would cross a network unencrypted."""
        return not self.is_secure and self.host not in LOOPBACK

    @model_validator(mode="after")
    def _key_is_hard_to_guess(self) -> Self:
        """Of the table as a whole, so that no message repeats the key."""
        if self.secrets_key and len(self.secrets_key) < _SHORTEST_KEY:
            raise ValueError(
                f"secrets_key is too short: give {_SHORTEST_KEY} or more characters (`openssl rand -hex 32`)"
            )
        return self

    @model_validator(mode="after")
    def _is_reached(self) -> Self:
        """A provider sends browsers back to an address that we must know."""
        if self.oidc is not None and not self.public_url:
            raise ValueError("[web.oidc] without public_url: give the address that browsers come back to")
        return self

    @model_validator(mode="after")
    def _somebody_may(self) -> Self:
        """Nothing is stored or read by whoever comes along."""
        known = self.tls is not None and self.tls.ca is not None and not self.tokens
        granted = {right for token in self.tokens for right in token.may}
        for key, right in (("stow", "store"), ("results", "read"), ("ups", "ups")):
            if getattr(self, key) and not known and not granted & {right, _LESS.get(right)}:
                mend = f'add [[web.tokens]] with may = ["{right}"], or [web.tls] with ca'
                raise ValueError(f"{key} = true and nobody may {right}: {mend}")
        names = [token.name for token in self.tokens]
        if len({*names}) < len(names) or len({token.token for token in self.tokens}) < len(names):
            raise ValueError("two of [[web.tokens]] have one name or one token; give each its own")
        return self
