"""The table of what is told to an OpenTelemetry collector."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from triage_agent.sections.base import LOOPBACK, Section
from triage_agent.sections.http import BEARER


class TelemetrySettings(Section):
    """Where the steps of studies' journeys go, as traces; nowhere by default."""

    traces: str = Field(default="", pattern=r"^(https?://[^\s#]+)?$")
    share: float = Field(default=1.0, ge=0, le=1)
    ca: Path | None = None
    token: str = ""

    @model_validator(mode="after")
    def _token_is_one(self) -> Self:
        """Of the table as a whole, so that no message repeats the token."""
        if self.token and not BEARER.fullmatch(self.token):
            raise ValueError("telemetry.token is none that a bearer token may be")
        address = urlsplit(self.traces)
        if self.token and address.scheme == "http" and address.hostname not in LOOPBACK:
            raise ValueError("telemetry.token would cross the network unencrypted; give traces with https://")
        return self
