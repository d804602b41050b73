"""Whether the agent could listen: its ports are free, or the agent that runs already is who listens there."""

import http.client
import json
import socket
import ssl
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.peers import ourselves, own_address
from triage_agent.domain.errors import ConfigurationError, DeliveryError, TriageError
from triage_agent.sections.web import WebTlsSettings
from triage_agent.settings import Settings

if TYPE_CHECKING:
    from triage_agent.dimse.certificates import Identity
    from triage_agent.dimse.tls import ClientTls, TlsKeeper

_ANSWER_SECONDS = 3.0
_OPEN_KEY = "give a key without a password, which the agent's user alone may read"


class Noteworthy(TriageError):  # noqa: N818 - it is none
    """It works, and somebody should do something."""


def look_at_dicom(settings: Settings) -> str:
    """Where C-STORE would be listened for; what answers C-ECHO as our AE title and implementation is ours.

    Raises:
        TriageError: somebody else listens, or nobody can.
    """
    return _look_at_dicom(settings, settings.dicom.port, None)


def look_at_dicom_tls(settings: Settings) -> str:
    """The same of the port with TLS.

    Raises:
        TriageError: somebody else listens, or nobody can.
    """
    from triage_agent.dimse.tls import ClientTls

    port = settings.dicom.tls.port if settings.dicom.tls else 0
    return _look_at_dicom(settings, port, ClientTls(_keeper(settings), checked=False))


def look_at_certificate(settings: Settings) -> str:
    """Whose certificate it is and until when, where peers that trust our CAs would take it.

    Raises:
        TriageError: they would not; `Noteworthy` where it expires soon.
    """
    from triage_agent.dimse.tls import verify_ourselves

    keeper, now = _keeper(settings), datetime.now(UTC)
    verify_ourselves(keeper, now)
    return told_in_time(keeper.identity, now)


def told_in_time(identity: "Identity", now: datetime, *, has_ca: bool = True) -> str:
    """Whose certificate it is and until when; without `has_ca` there is no CA to speak of.

    Raises:
        Noteworthy: it expires soon, or has.
    """
    from triage_agent.dimse.tls_watch import AHEAD

    says = f"{identity.subject} until {identity.expires:%Y-%m-%d}"
    ends = [("it", identity.expires)]
    if has_ca:
        says += f", CA until {identity.ca_expires:%Y-%m-%d}"
        ends.append(("the CA", identity.ca_expires))
    for which, expires in ends:
        if expires - now < AHEAD:
            raise Noteworthy(f"{says}: {which} expires in {(expires - now).days} days", remedy="replace it before")
    return says


def look_at_web_certificate(settings: Settings) -> str:
    """Whose certificate the pages have and until when, where its files can be used as the server uses them.

    Raises:
        TriageError: one is missing, unreadable, expired or of another kind, or the key does not fit the certificate;
            `Noteworthy` where one expires soon.
    """
    from triage_agent.dimse.certificates import TlsFiles, read_identity

    tls, now = settings.web.tls, datetime.now(UTC)
    if tls is None:
        raise TriageError("there is no [web.tls]")
    # Without a `ca` callers need no certificate, and ours stands in for what would be read.
    files = TlsFiles(certificate=tls.certificate, key=tls.key, ca=tls.ca or tls.certificate)
    try:
        identity = read_identity(files, now)
    except ConfigurationError as error:  # it speaks of the table that such files are usually in
        remedy = _OPEN_KEY if error.message.endswith("is encrypted") else error.remedy
        raise TriageError(error.message.replace("[dicom.tls]", "[web.tls]"), remedy=remedy) from None
    for which, expires in ((f"certificate {tls.certificate}", identity.expires), (f"ca {tls.ca}", identity.ca_expires)):
        if expires <= now:
            raise TriageError(f"{which} expired at {expires:%Y-%m-%d %H:%M} UTC", remedy="replace it, and restart")
    try:  # what OpenSSL itself refuses, such as a key that is too short
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise TriageError(f"[web.tls] certificate {tls.certificate}: {why}", remedy="have another one made") from None
    return told_in_time(identity, now, has_ca=tls.ca is not None)


def _keeper(settings: Settings) -> "TlsKeeper":
    from triage_agent.builders import build_tls

    keeper = build_tls(settings)
    if keeper is None:
        raise TriageError("there is no [dicom.tls]")
    return keeper


def _look_at_dicom(settings: Settings, port: int, tls: "ClientTls | None") -> str:
    dicom = settings.dicom
    problem = _problem(dicom.host, port)
    if problem is None:
        return f"{dicom.host}:{port} is free"
    client = DicomClient(
        ourselves(dicom.ae_title, dicom.host, port, tls),
        calling_ae_title=dicom.ae_title,
        connect_seconds=_ANSWER_SECONDS,
        answer_seconds=_ANSWER_SECONDS,
    )
    keys = "[dicom] host or [dicom.tls] port" if tls else "[dicom] host and port"
    remedy = f"stop what listens there, or set {keys}"
    try:
        is_ours = client.echo_is_ours()
    except DeliveryError as error:
        why = f"{problem} ({error.message})" if tls else problem
        raise TriageError(why, remedy=remedy) from None
    if not is_ours:  # some answer to any AE title
        raise TriageError(f"{dicom.host}:{port} is taken by another DICOM application", remedy=remedy)
    return f"{dicom.ae_title} runs already at {dicom.host}:{port}"


def look_at_web(settings: Settings) -> str:
    """Where probes would be answered; who answers /healthz as an agent does is ours.

    Raises:
        TriageError: somebody else listens, or nobody can.
    """
    web = settings.web
    problem = _problem(web.host, web.port)
    if problem is None:
        if (web.tokens or web.pages) and web.is_plain:
            raise Noteworthy(
                f"{web.host}:{web.port} is free; passwords, tokens and what they protect go unencrypted",
                remedy="add [web.tls], or see that a proxy ends TLS before the agent and say so by public_url",
            )
        return f"{web.host}:{web.port} is free"
    if not _answers_as_agent(web.host, web.port, web.tls):
        raise TriageError(problem, remedy="stop what listens there, or set [web] host and port")
    return f"an agent answers already at {web.host}:{web.port}"


def look_at_orders(settings: Settings) -> str:
    """Where orders would be listened for; nobody is asked there, since who is no peer is hung up on and audited.

    Raises:
        TriageError: somebody else listens, or nobody can.
    """
    listen, web = settings.hl7.listen, settings.web
    if listen is None:
        return "orders are not listened for"
    problem = _problem(listen.host, listen.port)
    if problem is None:
        return f"{listen.host}:{listen.port} is free"
    if not _answers_as_agent(web.host, web.port, web.tls):
        raise TriageError(problem, remedy="stop what listens there, or set [hl7.listen] host and port")
    return f"{listen.host}:{listen.port} is listened on, and an agent runs here"


def _problem(host: str, port: int) -> str | None:
    """Why nobody can listen there, by trying it the way the servers do; None when they could."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return f"cannot listen on {host}:{port}: {error.strerror or error}"
    return None


def _answers_as_agent(host: str, port: int, tls: WebTlsSettings | None) -> bool:
    """Asked straight, past any proxy of the environment."""
    try:
        with closing(_connection(own_address(host), port, tls)) as connection:
            connection.request("GET", "/healthz")
            said = json.loads(connection.getresponse().read(1000))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return isinstance(said, dict) and {"status", "version"} <= said.keys()


def _connection(host: str, port: int, tls: WebTlsSettings | None) -> http.client.HTTPConnection:
    """With TLS we show our own certificate, which the agent may ask for; that it answers as one is proof enough."""
    if tls is None:
        return http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(tls.certificate, tls.key)
    return http.client.HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=context)
