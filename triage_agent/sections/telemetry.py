"""The table of what is told to an OpenTelemetry collector."""

import os
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, model_validator

from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.http import BEARER

_PORTS = {"http": 80, "https": 443}


class TelemetrySettings(Section):
    """Where the steps of studies' journeys go, as traces; nowhere by default."""

    traces: str = ""
    share: float = Field(default=1.0, ge=0, le=1)
    ca: Path | None = None
    token: str = ""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        """Of the table as a whole, so that no message repeats the token, or a password in the address."""
        if not self.traces:
            if unused := [key for key in ("token", "ca") if getattr(self, key)]:
                raise ValueError(f"telemetry.{unused[0]} is without effect while telemetry.traces is empty; give both")
            return self
        address = _address(self.traces)
        if self.token and not BEARER.fullmatch(self.token):
            raise ValueError("telemetry.token is none that a bearer token may be")
        if self.token and address.scheme == "http" and address.hostname not in LOOPBACK:
            raise ValueError("telemetry.token would cross the network unencrypted; give traces with https://")
        if self.ca is not None and address.scheme == "http":
            raise ValueError("telemetry.ca is who signed a certificate, and http has none; give traces with https://")
        if self.ca is not None and not os.path.isfile(self.ca):  # noqa: PTH113 - Path.is_file raises where it may not look
            raise ValueError(f"telemetry.ca is no file that can be read here: {self.ca}")
        return self

    def collector(self) -> tuple[str, int, bool]:
        """Host, port, and whether it is called by TLS; only where there are traces."""
        address = _address(self.traces)
        return address.hostname or "", address.port or _PORTS[address.scheme], address.scheme == "https"


def _address(text: str) -> SplitResult:
    """Its parts.

    Raises:
        ValueError: nobody could be called there.
    """
    form = "telemetry.traces is not http(s)://host[:port]/path, without blanks and fragment"
    if not (text.isascii() and text.isprintable()) or " " in text or "#" in text:
        raise ValueError(form)
    try:
        address = urlsplit(text)
        host = address.hostname
    except ValueError:
        raise ValueError(form) from None
    if address.scheme not in _PORTS or not host:
        raise ValueError(form)
    if "@" in address.netloc:
        raise ValueError("telemetry.traces has a user or password in it, which are not sent; give a token instead")
    try:
        port = address.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("telemetry.traces has a port that is none; a port is 1 to 65535")
    return address
