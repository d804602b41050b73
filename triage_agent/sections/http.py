"""What the tables of peers that speak HTTP have in common: where they are, who we are to them, whom we trust."""

import base64
import re
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from triage_agent.delivery.endpoint import Endpoint, FhirDialect, HttpAccess
from triage_agent.sections.base import YEAR, Section

BEARER = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1
_PORTS = {"http": 80, "https": 443}


class HttpPeerSettings(Section):
    """A service that takes our results over HTTP."""

    name: str = Field(min_length=1)
    url: str = Field(min_length=1)
    token: str = ""
    user: str = ""
    password: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout_seconds: float = Field(default=30, gt=0, le=YEAR)

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        """Of the table as a whole, so that no message repeats a secret."""
        if not _usable(self.url):
            raise ValueError(
                f"the url of {self.name!r} is not http(s)://host[:port][/path]; without user, query and fragment"
            )
        if self.token and not BEARER.fullmatch(self.token):
            raise ValueError(f"the token of {self.name!r} has characters that no bearer token has (RFC 6750)")
        if self.token and self.user:
            raise ValueError(f"give {self.name!r} a token, or user and password, not both")
        if bool(self.user) != bool(self.password) or ":" in self.user:
            raise ValueError(f"give {self.name!r} both user and password, or neither; a user has no colon")
        if bool(self.certificate) != bool(self.key):
            raise ValueError(f"give {self.name!r} certificate and key, or neither")
        if (self.ca or self.certificate) and urlsplit(self.url).scheme == "http":
            raise ValueError(f"{self.name!r} has certificates and an http url; give it an https url")
        return self

    def endpoint(self) -> Endpoint:
        """The same for a transport."""
        return self.reached()

    def reached(self, fhir: FhirDialect = FhirDialect()) -> Endpoint:  # noqa: B008 - a frozen value
        """The same for a transport that needs to know more than where the peer is."""
        url = urlsplit(self.url)
        return Endpoint(
            name=self.name,
            host=url.hostname or "",
            port=url.port or _PORTS[url.scheme],
            answer_seconds=self.timeout_seconds,
            http=HttpAccess(
                path=url.path.rstrip("/"),
                secure=url.scheme == "https",
                authorization=self._authorization(),
                ca=self.ca,
                certificate=self.certificate,
                key=self.key,
            ),
            fhir=fhir,
        )

    def _authorization(self) -> str:
        if self.token:
            return f"Bearer {self.token}"
        if self.user:
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return ""


def _usable(text: str) -> bool:
    try:
        url: SplitResult = urlsplit(text)
        host, port = (url.hostname or "").encode("idna"), url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    extra = url.query or url.fragment or "?" in text or "#" in text or "@" in url.netloc
    return plain and url.scheme in _PORTS and bool(host) and port != 0 and not extra
