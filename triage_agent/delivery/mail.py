"""E-mail by SMTP (RFC 5321): one conversation a message, whole within its time, whatever the server does.

| what the server says | verdict |
|---|---|
| nothing, or no SMTP; 421 | try again, away |
| 4xx | try again |
| 5xx to the greeting, EHLO, STARTTLS, AUTH, MAIL, or RCPT of every recipient | try again: an admin mends it |
| 5xx to DATA or to what follows it | permanent: this message, as it is, is not taken |

A message that some recipients are refused for is sent; the log says of how many.
"""

import io
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal

import structlog

from triage_agent.delivery.http_wire import Deadline
from triage_agent.dimse.handshake import shake_hands, take_over
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.errors import DeliveryError

log = structlog.get_logger(__name__)

_LONGEST_TALK = 1 << 16  # bytes that a server may say in one conversation; a usual one has a few hundred
_CONNECT_SECONDS = 10.0
_FAREWELL_SECONDS = 2.0
_SERVICE_CLOSING = 421
_PERMANENT = 500
_RUNNING = "check that the mail server runs, and its host, port and security"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in.

    Attributes:
        security: "tls" from the first byte on (port 465), "starttls" (587), or "none" (a relay of the house, 25).
        ca: PEM file of who signs the server's certificate; None for those that the system trusts.
        seconds: for one conversation, whole.
    """

    host: str
    port: int
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    seconds: float = 30.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Mailer:
    """Hands in messages of one sender to the same recipients; used by one thread."""

    def __init__(self, server: MailServer, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients
        self._talk: _Conversation | None = None

    def send(self, uid: str, subject: str, text: str, at: datetime) -> None:
        """Hand in a message, whose Message-ID is made of `uid`.

        Raises:
            DeliveryError: it was not taken.
        """
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = self._sender, ", ".join(self._recipients), subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{uid}@{self._sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notice answers it
        message.set_content(text)
        self._converse(lambda talk: self._hand_in(talk, message.as_bytes()))

    def check(self) -> str:
        """Log in and hang up; returns how it went, in words.

        Raises:
            DeliveryError: a message would not be taken.
        """
        self._converse(lambda _talk: None)
        how = {"tls": "by TLS", "starttls": "by STARTTLS", "none": "unencrypted"}[self._server.security]
        return f"{self._server} answers {how}{f', takes {self._server.user}' if self._server.user else ''}"

    def close(self) -> None:
        """Hang up, from whichever thread."""
        if (talk := self._talk) is not None:
            talk.cut()

    def _hand_in(self, talk: "_Conversation", message: bytes) -> None:
        refused = talk.sendmail(self._sender, self._recipients, message)
        if refused:
            log.warning("mail_recipients_refused", server=str(self._server), refused=len(refused))

    def _converse(self, say: Callable[["_Conversation"], None]) -> None:
        self._talk = talk = _Conversation(self._server)
        try:
            talk.open()
            say(talk)
            with suppress(smtplib.SMTPException, OSError):  # it was taken, whatever the farewell is like
                talk.take_leave()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise self._failure(error) from None
        finally:
            self._talk = None
            talk.close()

    def _failure(self, error: Exception) -> DeliveryError:  # noqa: PLR0911 - a table
        where = f"mail server {self._server}"
        match error:
            case smtplib.SMTPRecipientsRefused():
                codes = sorted({int(code) for code, _ in error.recipients.values()})
                says = f"{where} refuses every recipient ({', '.join(map(str, codes))})"
                return DeliveryError(says, permanent=False, remedy="check `to`, and whether it relays for us")
            case smtplib.SMTPDataError():
                says = f"{where} answered {error.smtp_code} to the message"
                return DeliveryError(says, permanent=error.smtp_code >= _PERMANENT)
            case smtplib.SMTPAuthenticationError():
                says = f"{where} answered {error.smtp_code} to the login"
                return DeliveryError(says, permanent=False, remedy="check user and password")
            case smtplib.SMTPSenderRefused():
                says = f"{where} answered {error.smtp_code} to the sender"
                return DeliveryError(says, permanent=False, remedy="check `from`, and user and password")
            case smtplib.SMTPResponseException():
                says, away = f"{where} answered {error.smtp_code}", error.smtp_code == _SERVICE_CLOSING
                return DeliveryError(says, permanent=False, remedy=_RUNNING, away=away)
            case smtplib.SMTPNotSupportedError():
                says, remedy = f"{where} offers no {'login' if self._server.user else 'STARTTLS'} here", _RUNNING
                return DeliveryError(says, permanent=False, remedy=remedy)
        return DeliveryError(f"{where}: {_told(error)}", permanent=False, remedy=_RUNNING, away=True)


def _told(error: Exception) -> str:
    """In a reader's words, never the server's."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection ({trouble(error)})"
    if isinstance(error, FileNotFoundError | PermissionError):
        return f"the certificate's file cannot be read ({trouble(error)})"
    if isinstance(error, socket.gaierror):
        return "the host's name is not known"
    if isinstance(error, smtplib.SMTPException | ValueError):
        return "does not speak SMTP, or hung up"
    return f"no connection ({'refused' if isinstance(error, ConnectionRefusedError) else trouble(error)})"


class _Conversation(smtplib.SMTP):
    """smtplib on a connection of ours: the standard library's times are for one wait each, and it hears without end."""

    def __init__(self, server: MailServer) -> None:
        super().__init__(local_hostname=socket.gethostname() or "localhost")  # getfqdn() would ask a name service
        self._server = server
        self._deadline = Deadline()
        self._wire: _Wire | None = None

    def open(self) -> None:
        """Connect, with TLS and logged in as far as the site says.

        Raises:
            OSError: the network, a certificate's file, or the server's certificate.
            smtplib.SMTPException: the server.
        """
        self._deadline.begin(self._server.seconds)
        seconds = min(_CONNECT_SECONDS, self._deadline.left())
        plain = socket.create_connection((self._server.host, self._server.port), timeout=seconds)
        secured = self._secured(plain) if self._server.security == "tls" else plain
        self._use(secured)
        code, said = self._reply()
        if code != 220:  # noqa: PLR2004 - RFC 5321 section 4.2
            raise smtplib.SMTPConnectError(code, said)
        self.ehlo_or_helo_if_needed()
        if self._server.security == "starttls":
            self._begin_tls(plain)
        if self._server.user:
            self.login(self._server.user, self._server.password)

    def take_leave(self) -> None:
        """QUIT; what was taken is to be marked so, which does not wait for long."""
        self._deadline.begin(_FAREWELL_SECONDS)
        self.quit()

    def cut(self) -> None:
        """End whatever is waited for."""
        if (wire := self._wire) is not None:
            wire.cut()

    def getreply(self) -> tuple[int, bytes]:
        """As smtplib has it; a silence tells itself from a farewell."""
        try:
            return super().getreply()
        except smtplib.SMTPServerDisconnected:
            self._deadline.left()  # raises where the time is over
            raise

    _reply = getreply

    def _begin_tls(self, plain: socket.socket) -> None:
        """RFC 3207: what was said before counts no more, and what came behind the answer is not read."""
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError
        code, said = self.docmd("STARTTLS")
        if code != 220:  # noqa: PLR2004 - as above
            raise smtplib.SMTPResponseException(code, said)
        self._use(self._secured(plain))
        self.helo_resp, self.ehlo_resp, self.esmtp_features, self.does_esmtp = None, None, {}, False
        self.ehlo()

    def _secured(self, plain: socket.socket) -> socket.socket:
        try:
            context = ssl.create_default_context(cafile=self._server.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            seconds = min(_CONNECT_SECONDS, self._deadline.left())
            secured = take_over(plain, context, server_hostname=self._server.host)
        except BaseException:
            plain.close()
            raise
        shake_hands(secured, seconds)
        return secured

    def _use(self, connection: socket.socket) -> None:
        self._wire = _Wire(connection, self._deadline)
        self.sock: Any = self._wire
        self.file = None


class _Wire(io.RawIOBase):
    """A connection as smtplib uses one; every wait ends with the deadline, and so does what is said too much."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._heard = 0

    def sendall(self, data: bytes) -> None:
        """All of it, in time."""
        left = memoryview(data)
        while left:
            self._connection.settimeout(self._deadline.left())
            left = left[self._connection.send(left) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What replies are read from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is what it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes that the server says."""
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._heard += count
        if self._heard > _LONGEST_TALK:
            raise ConnectionAbortedError("it talks without end")
        return count

    def cut(self) -> None:
        """From another thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        super().close()
