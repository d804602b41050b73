"""Syslog: the framing of RFC 5424, and how a batch goes over TLS (RFC 5425), TCP (RFC 6587, octet counting) or UDP.

Syslog has no answer. What was written to a connection may still be lost with it, so each batch has a connection of its
own that we end first: a receiver that then ends it, too, has read everything before (its system would reset the
connection otherwise). Only then a batch counts as sent.
"""

import fcntl
import re
import socket
import ssl
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from triage_agent.domain.errors import ConfigurationError, DeliveryError

MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 section A.6
_APPLICATION = "triage-agent"
_BOM = b"\xef\xbb\xbf"  # RFC 5424 section 6.4: the message is UTF-8
_NOTICE, _WARNING = 5, 4
_CYCLE = 2147483647  # RFC 5424 section 7.3.1: the largest sequenceId
_LARGEST_DATAGRAM = 65_507


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Where messages go.

    Attributes:
        scheme: tls, tcp or udp.
        ca: who signed its certificate; None for the system's authorities.
        certificate: ours, with `key`.
        seconds: how long to wait for each step.
    """

    scheme: str
    host: str
    port: int
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    seconds: float = 10.0

    def context(self) -> ssl.SSLContext:
        """What its connections are secured with, from the files as they are now.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            said = error.strerror or type(error).__name__
            raise ConfigurationError(
                f"[audit] syslog: its certificate files cannot be used: {said}",
                remedy="see that syslog_ca, syslog_certificate and syslog_key are PEM files that this user can read",
            ) from None
        return context


def frame(
    message: bytes, *, position: int, at: datetime, host: str, process: int, facility: int, failed: bool
) -> bytes:
    """A syslog message (RFC 5424) around an audit message.

    The position of the record in the chain is the `sequenceId`: a receiver tells by it what came twice, or is missing.
    """
    priority = facility * 8 + (_WARNING if failed else _NOTICE)
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    named = re.sub(r"[^!-~]", "_", host)[:255] or "-"
    number = (position - 1) % _CYCLE + 1
    header = f'<{priority}>1 {stamp} {named} {_APPLICATION} {process} {MESSAGE_ID} [meta sequenceId="{number}"] '
    return header.encode("ascii") + _BOM + message


def send(receiver: Receiver, frames: Sequence[bytes]) -> None:
    """Send messages in order; returns when the receiver has them, as far as that can be known.

    Raises:
        DeliveryError: it did not take them; some may have arrived.
        ConfigurationError: a certificate file cannot be used.
    """
    try:
        if receiver.scheme == "udp":
            _send_datagrams(receiver, frames)
            return
        counted = b"".join(b"%d %s" % (len(one), one) for one in frames)
        with socket.create_connection((receiver.host, receiver.port), receiver.seconds) as plain:
            if receiver.scheme == "tcp":
                _send_and_wait(plain, counted)
                return
            with receiver.context().wrap_socket(plain, server_hostname=receiver.host) as secure:
                secure.sendall(counted)
                _end(secure)
    except OSError as error:  # ssl.SSLError is one
        said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror
        raise DeliveryError(f"syslog: {said or type(error).__name__}", permanent=False) from None


def _send_datagrams(receiver: Receiver, frames: Sequence[bytes]) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(receiver.host, receiver.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as plain:
        for one in frames:
            plain.sendto(one[:_LARGEST_DATAGRAM], address)


def _send_and_wait(plain: socket.socket, counted: bytes) -> None:
    plain.sendall(counted)
    plain.shutdown(socket.SHUT_WR)
    try:
        while plain.recv(4096):
            pass
    except TimeoutError:
        _require_nothing_left(plain)


def _end(secure: ssl.SSLSocket) -> None:
    """Say that nothing more comes, and wait until the receiver has seen it."""
    try:
        secure.unwrap()
    except ssl.SSLEOFError:
        return  # it ended the connection without the word for it, after it had read ours
    except TimeoutError:
        _require_nothing_left(secure)


def _require_nothing_left(connection: socket.socket) -> None:
    """A receiver that keeps the connection open: at least its system has acknowledged every byte.

    Raises:
        TimeoutError: not even that.
    """
    unacknowledged: int
    (unacknowledged,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    if unacknowledged:
        raise TimeoutError("the receiver does not acknowledge")
