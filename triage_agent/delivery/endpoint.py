"""Where a destination is, and how long to wait for it."""

import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from triage_agent.dimse.tls import ClientTls


class Securing(Protocol):
    """What makes a connection of ours one with TLS."""

    def secure(self, connection: socket.socket, host: str, seconds: float) -> ssl.SSLSocket:
        """Shake hands as the client."""


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

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}" if self.ae_title else f"{self.host}:{self.port}"
