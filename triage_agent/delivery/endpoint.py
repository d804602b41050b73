"""Where a destination is, and how long to wait for it."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from triage_agent.dimse.tls import ClientTls


class Securing(Protocol):
    """What makes a connection of ours one with TLS."""

    def secure(self, connection: socket.socket, host: str, seconds: float) -> ssl.SSLSocket:
        """Shake hands as the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAccess:
    """How to talk to a peer that speaks HTTP.

    Attributes:
        path: of the service's root, without a slash at its end; empty for the root of the server.
        secure: by TLS.
        authorization: what the header of that name says; empty for none.
        ca: PEM file of who signs the peer's certificate; None for those that the system trusts.
        certificate: ours, a PEM file, for peers that want one; `key` is its key.
    """

    path: str = ""
    secure: bool = False
    authorization: str = field(default="", repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirDialect:
    """What differs from one FHIR server to another.

    Attributes:
        priority: how it learns of a study's: a "task" of ours, the priority of its own "service-request", or "none".
        patient_system: the system of its patients' identifiers; empty where they have none.
        accession_system: the system of its orders' accession numbers; empty for any.
    """

    priority: str = "task"
    patient_system: str = ""
    accession_system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One peer's address.

    Attributes:
        name: what the site calls it.
        ae_title: the peer's application entity title; DICOM peers have one.
        calling_ae_title: ours.
        connect_seconds: how long to wait for a connection.
        answer_seconds: how long to wait for the answer to one object.
        tls: how to call a DICOM peer by TLS; None for plain TCP.
        secured: the same for any other peer.
        http: how to talk to a peer that speaks HTTP.
        fhir: how to talk to a FHIR server.
    """

    host: str
    port: int
    name: str = ""
    ae_title: str = ""
    calling_ae_title: str = "TRIAGE"
    connect_seconds: float = 10.0
    answer_seconds: float = 30.0
    tls: "ClientTls | None" = None
    secured: Securing | None = None
    http: HttpAccess = HttpAccess()
    fhir: FhirDialect = FhirDialect()

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}" if self.ae_title else f"{self.host}:{self.port}"
