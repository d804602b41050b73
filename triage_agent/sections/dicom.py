"""The tables of DICOM: our application entity, its TLS, and its peers."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from triage_agent.sections.base import YEAR, Section


def _network(text: object) -> object:
    """An address or a network in CIDR notation."""
    try:
        return ipaddress.ip_network(str(text))
    except ValueError as error:
        raise ValueError(f"{error}; write a network as 10.1.0.0/16 or fd00::/8") from None


Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]


class TlsSettings(Section):
    """TLS for DICOM, PEM files each."""

    certificate: Path
    key: Path
    key_password: str | None = None
    ca: Path
    require_client_certificate: bool = True
    port: int = Field(default=2762, ge=1, le=65535)


def _ae_title(text: str) -> str:
    """An AE title without its padding (PS3.5 section 6.2, AE): 1 to 16 characters of ASCII that can be printed."""
    title = text.strip(" ")
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", title):
        raise ValueError("give 1 to 16 characters of printable ASCII, not a backslash, and not only spaces")
    return title


_AeTitle = Annotated[str, AfterValidator(_ae_title)]


class PeerSettings(Section):
    """A DICOM application that may talk to us, or that we talk to."""

    name: str = Field(min_length=1)
    ae_title: _AeTitle
    host: str = ""
    port: int = Field(default=0, ge=0, le=65535)
    networks: tuple[Network, ...] = ()
    tls: bool = False
    certificate_name: str = ""
    max_associations: int | None = Field(default=None, ge=1)
    max_associations_per_minute: int | None = Field(default=None, ge=1)
    may: tuple[Literal["store", "query", "commit", "ups"], ...] = ()
    retrieve: Literal["move", "get"] | None = None

    @model_validator(mode="after")
    def _can_be_reached_or_calls(self) -> Self:
        if not self.host and not self.networks:
            raise ValueError("give the peer's host, or the networks that it calls from")
        if bool(self.host) != bool(self.port):
            raise ValueError("give host and port, or neither for a peer that only calls from its networks")
        if not self.host and (self.tls or self.retrieve or "commit" in self.may):
            raise ValueError("tls, retrieve and commit mean that we call the peer: give its host and port")
        if self.retrieve == "move" and "store" not in self.may:
            raise ValueError(
                'retrieve = "move" has the peer send us images: add "store" to its may, or retrieve by "get"'
            )
        return self


def _is_here(host: str, ours: str) -> bool:
    """Whether `host` is where we listen, as far as names tell."""
    return host.lower() in {ours.lower(), "localhost", "127.0.0.1", "::1"}


class DicomSettings(Section):
    """Our application entity."""

    ae_title: _AeTitle = "TRIAGE"
    host: str = "127.0.0.1"
    port: int = Field(default=11112, ge=1, le=65535)
    plain: bool = True
    tls: TlsSettings | None = None
    accept_unknown_peers: bool = False
    max_associations: int = Field(default=100, ge=1)
    processes: int = Field(default=1, ge=1, le=64)
    timeout_seconds: float = Field(default=30, gt=0, le=YEAR)
    min_bytes_per_second: float = Field(default=4000, ge=0)
    warn_on_conflict: bool = False
    worklist_days: float = Field(default=30, gt=0, le=3650)
    worklist_answers: int = Field(default=1000, ge=1, le=20_000)
    peers: tuple[PeerSettings, ...] = ()

    @model_validator(mode="after")
    def _each_process_may_have_one(self) -> Self:
        if self.processes > self.max_associations:
            raise ValueError(
                f"processes {self.processes} is above max_associations {self.max_associations}, which is that of all "
                "processes together; make it the smaller one"
            )
        return self

    @model_validator(mode="after")
    def _peers_differ(self) -> Self:
        first: dict[tuple[str, str, int], str] = {}
        for peer in self.peers:
            here = (
                first.setdefault((peer.ae_title, peer.host.lower(), peer.port), peer.name) if peer.host else peer.name
            )
            if here != peer.name:
                raise ValueError(
                    f"peers {here!r} and {peer.name!r} are one application; make one [[dicom.peers]] of them"
                )
            if (peer.ae_title, peer.port) == (self.ae_title, self.port) and _is_here(peer.host, self.host):
                raise ValueError(f"peer {peer.name!r} is this agent itself; give it the AE title, host and port it has")
        return self

    @model_validator(mode="after")
    def _tls_fits(self) -> Self:
        if self.tls is None:
            if not self.plain:
                raise ValueError("plain = false leaves nothing to listen on; add [dicom.tls]")
            for peer in self.peers:
                if peer.tls or peer.certificate_name:
                    raise ValueError(f"peer {peer.name!r} needs TLS; add [dicom.tls] with certificate, key and ca")
        elif self.plain and self.tls.port == self.port:
            raise ValueError(
                f"port {self.port} cannot be plain and TLS; give [dicom.tls] its own, or set plain = false"
            )
        return self
