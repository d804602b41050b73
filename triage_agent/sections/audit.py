"""The table of the audit log: its anchors, and where its messages go besides the database."""

import ipaddress
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from triage_agent.sections.base import Section

SCHEMES = ("tls", "tcp", "udp")


class AuditSettings(Section):
    """How the audit log is anchored, and where audit messages are sent."""

    syslog: str = ""
    syslog_ca: Path | None = None
    syslog_certificate: Path | None = None
    syslog_key: Path | None = None
    syslog_facility: int = Field(default=10, ge=0, le=23)
    syslog_seconds: float = Field(default=10, gt=0, le=300)
    patients: Literal["none", "id", "name"] = "id"
    source_id: str = Field(default="", max_length=64)
    anchor_minutes: float = Field(default=10, ge=0, le=7 * 24 * 60)
    anchor_key: Path | None = None
    anchors: Path | None = None

    @property
    def syslog_address(self) -> tuple[str, str, int] | None:
        """Scheme, host and port; None where nothing is sent."""
        return _address(self.syslog) if self.syslog else None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.syslog == "":
            return self
        scheme, host, _ = _address(self.syslog)
        if (self.syslog_certificate is None) != (self.syslog_key is None):
            raise ValueError("syslog_certificate and syslog_key belong together; give both or neither")
        if scheme != "tls" and (self.syslog_ca or self.syslog_certificate):
            raise ValueError(f"syslog = {self.syslog!r} is not TLS and needs no certificates; write tls://")
        if scheme != "tls" and self.patients != "none" and not _is_loopback(host):
            raise ValueError(
                f"syslog = {self.syslog!r} would send patients over the network in the clear; "
                'write tls://, or patients = "none"'
            )
        return self


def _address(syslog: str) -> tuple[str, str, int]:
    found = re.fullmatch(r"(?:([a-z]+)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", syslog)
    if found is None or (found[1] or "tls") not in SCHEMES or not 0 < int(found[3]) < 1 << 16:
        raise ValueError(
            f"syslog = {syslog!r} is no address; write tls://host:6514, tcp://host:port or udp://host:port"
        )
    return found[1] or "tls", found[2].strip("[]"), int(found[3])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
