"""TLS for connections that are no DICOM associations, by the same profile, with certificates of one peer's own."""

import errno
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from triage_agent.dimse.certificates import names_in
from triage_agent.dimse.handshake import shake_hands, take_over
from triage_agent.dimse.tls import profile
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """How to call one peer by TLS; the files are read for each connection, so that changed ones are taken up.

    Attributes:
        ca: who signs the peer's certificate.
        certificate: ours, followed by what lies between it and its CA; None where the peer asks for none.
        key: of our certificate.
        name: what the peer's certificate must name (CN or dNSName). Without one the host that is called is checked.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    name: str = ""

    def secure(self, connection: socket.socket, host: str, seconds: float) -> ssl.SSLSocket:
        """Shake hands as the client.

        Raises:
            OSError: it failed, or the certificate is not the peer's; the connection is closed then.
            ConfigurationError: our files cannot be used; the connection is closed then.
        """
        try:
            context = self.context()
        except ConfigurationError:
            connection.close()
            raise
        secured = take_over(connection, context, server_hostname=host)
        shake_hands(secured, seconds)
        if self.name and self.name.lower() not in names_in(secured.getpeercert(binary_form=True) or b""):
            secured.close()
            raise OSError(errno.EPERM, f"its certificate does not name {self.name}")
        return secured

    def context(self) -> ssl.SSLContext:
        """What a connection is made with.

        Raises:
            ConfigurationError: a file is missing, unreadable, or does not fit the others.
        """
        context = profile(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = not self.name
        password = self.key_password or ""
        try:
            context.load_verify_locations(self.ca)
            if self.certificate is not None:
                # A function even where there is no password: otherwise OpenSSL would ask for one at the terminal.
                context.load_cert_chain(self.certificate, self.key, lambda: password)
        except (OSError, ValueError) as error:
            files = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path is not None)
            raise ConfigurationError(
                f"TLS files {files} cannot be used: {trouble(error)}",
                remedy="name PEM files that the agent's user may read, a key that fits, and its key_password",
            ) from None
        return context
