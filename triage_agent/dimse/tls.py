"""TLS by the BCP 195 profile (PS3.15 section B.12, RFC 9325), with certificates that can be changed at any time."""

import errno
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from triage_agent.dimse.certificates import Identity, Stamp, TlsFiles, names_in, read_identity
from triage_agent.dimse.handshake import shake_hands, take_over
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.ports import Clock

# TLS 1.2 by RFC 9325 section 4.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 has no others.
SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
# A resumed session would pass over a certificate that was changed meanwhile, so there are no tickets.
_OPTIONS = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was made of the files as they were at `stamp`."""

    stamp: Stamp
    identity: Identity
    server: ssl.SSLContext
    only_serving: ssl.SSLContext
    client: ssl.SSLContext
    client_for_any_host: ssl.SSLContext


class TlsKeeper:
    """Our side of every TLS connection; safe to use from many threads.

    The files are read when a context is wanted first, and by `refresh` when they have changed.
    """

    def __init__(self, files: TlsFiles, clock: Clock, *, calling: bool = False) -> None:
        """`calling`: whether we call peers, too, so that a certificate has to be for clients as well."""
        self.files = files
        self._calling = calling
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None
        self._seen: Stamp = ()  # at the last look; what has not settled is not read
        self._failed: Stamp = ()  # not read again
        self._refused: _Loaded | None = None  # of `_failed`, what can be read and peers would not take, or not yet

    @property
    def identity(self) -> Identity:
        """What the certificates in use say.

        Raises:
            ConfigurationError: the files cannot be used.
        """
        return self._current().identity

    @property
    def is_current(self) -> bool:
        """Whether the files as they were at the last look are in use."""
        return not self._failed

    def server(self) -> ssl.SSLContext:
        """For the next connection that is accepted.

        Raises:
            ConfigurationError: the files cannot be used.
        """
        return self._current().server

    def client(self, *, any_host: bool = False) -> ssl.SSLContext:
        """For the next connection that is made; with `any_host` somebody else checks whose certificate it is.

        Raises:
            ConfigurationError: the files cannot be used.
        """
        loaded = self._current()
        return loaded.client_for_any_host if any_host else loaded.client

    def refresh(self, *, at_once: bool = False) -> bool:
        """Read the files again if they have changed; True if they are in use now.

        Certificate and key are two files, so a change is read at the second look that finds it, or `at_once`. A
        certificate that peers would not take is not used in the place of one that they do; it is looked at again each
        time, as it may only be not valid yet.

        Raises:
            ConfigurationError: they have changed and cannot be used; what was in use before still is. Raised once for
                each change.
        """
        with self._lock:
            if self._loaded is None:
                return False
            stamp, before = self.files.stamp(), self._seen
            self._seen = stamp
            if stamp == self._loaded.stamp and not at_once:
                self._failed, self._refused = (), None
                return False
            if not at_once and stamp == self._failed:
                return self._take_refused(self._loaded)
            if not at_once and stamp != before:
                return False
            try:
                self._take(self._load(stamp), self._loaded)
            except ConfigurationError:
                self._failed = stamp
                raise
            return True

    def verify(self, now: datetime, *, calling: bool = False) -> None:
        """See `verify_ourselves`."""
        _verify(self.files, self._current(), now, calling=calling or self._calling)

    def _take(self, candidate: _Loaded, in_use: _Loaded) -> None:
        """Use the candidate, unless peers would not take it and do take what is in use.

        Raises:
            ConfigurationError: they would not.
        """
        now = self._clock()
        self._refused = None
        for calling in {False, self._calling}:  # one that only serves is better than one that does not even do that
            try:
                _verify(self.files, candidate, now, calling=calling)
            except ConfigurationError:
                if _is_verified(self.files, in_use, now, calling=calling):
                    self._refused = candidate
                    raise
        self._loaded, self._failed, self._refused = candidate, (), None

    def _take_refused(self, in_use: _Loaded) -> bool:
        if self._refused is None:
            return False
        try:
            self._take(self._refused, in_use)
        except ConfigurationError:
            return False  # that was said before
        return True

    def _current(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._seen = self.files.stamp()
                self._loaded = self._load(self._seen)
            return self._loaded

    def _load(self, stamp: Stamp) -> _Loaded:
        identity = read_identity(self.files, self._clock())
        return _Loaded(
            stamp=stamp,
            identity=identity,
            server=_server(self.files),
            only_serving=_only_serving(self.files),
            client=_client(self.files, check_hostname=True),
            client_for_any_host=_client(self.files, check_hostname=False),
        )


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How to call one peer by TLS.

    Attributes:
        name: what its certificate must name (CN or dNSName). Without one the host that is called is checked (RFC 6125).
        checked: False for ourselves, whom our own certificate names by whatever name.
    """

    keeper: TlsKeeper
    name: str = ""
    checked: bool = True

    def secure(self, connection: socket.socket, host: str, seconds: float) -> ssl.SSLSocket:
        """Shake hands as the client.

        Raises:
            OSError: it failed, or the certificate is not the peer's; the connection is closed then.
            ConfigurationError: our own certificate cannot be used.
        """
        any_host = bool(self.name) or not self.checked
        secured = take_over(connection, self.keeper.client(any_host=any_host), server_hostname=host)
        shake_hands(secured, seconds)
        if self.name and self.name.lower() not in names_in(secured.getpeercert(binary_form=True) or b""):
            secured.close()
            raise OSError(errno.EPERM, f"its certificate does not name {self.name}")
        return secured


def verify_ourselves(keeper: TlsKeeper, now: datetime, *, calling: bool = False) -> None:
    """Whether peers that trust our CAs would take our certificate, by shaking hands with ourselves.

    Args:
        keeper: whose files are looked at.
        now: when.
        calling: whether we call peers, too: a certificate may be for servers only (RFC 5280 section 4.2.1.12).

    Raises:
        ConfigurationError: they would not, and why.
    """
    keeper.verify(now, calling=calling)


def _verify(files: TlsFiles, loaded: _Loaded, now: datetime, *, calling: bool = False) -> None:
    """See `verify_ourselves`; `loaded` is what was made of `files`."""
    certificate, identity = files.certificate, loaded.identity
    if identity.expires <= now:
        raise ConfigurationError(
            f"certificate {certificate} expired at {identity.expires:%Y-%m-%d %H:%M} UTC",
            remedy="replace it; a running agent takes the new one up by itself",
        )
    if identity.ca_expires <= now:
        raise ConfigurationError(
            f"ca {files.ca}: all its certificates expired, the last at {identity.ca_expires:%Y-%m-%d %H:%M} UTC",
            remedy="replace it",
        )
    if problem := _handshake_problem(loaded.only_serving, loaded.client_for_any_host):
        raise ConfigurationError(
            f"certificate {certificate} is not verified by ca {files.ca}: {problem}",
            remedy="add the CA that signed it to ca, and what lies between them to certificate",
        )
    if calling and (problem := _handshake_problem(loaded.server, loaded.client_for_any_host)):
        raise ConfigurationError(
            f"certificate {certificate} is for servers only, peers that we call would not take it: {problem}",
            remedy="have it made for both purposes, serverAuth and clientAuth",
        )


def _is_verified(files: TlsFiles, loaded: _Loaded, now: datetime, *, calling: bool) -> bool:
    try:
        _verify(files, loaded, now, calling=calling)
    except ConfigurationError:
        return False
    return True


def profile(protocol: int) -> ssl.SSLContext:
    """A context of the profile, without certificates; HL7's connections keep to it, too."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(":".join(SUITES))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a site may trust an intermediate, or one certificate
    return context


def _base(protocol: int, files: TlsFiles) -> ssl.SSLContext:
    context = profile(protocol)
    password = files.key_password or ""
    try:
        # A function even where there is no password: otherwise OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.certificate, files.key, lambda: password)
        context.load_verify_locations(files.ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"[dicom.tls] {files.certificate}, {files.key} and {files.ca} cannot be used: {trouble(error)}",
            remedy="make them anew; RSA keys need 2048 bits",
        ) from None
    return context


def _server(files: TlsFiles) -> ssl.SSLContext:
    context = _base(ssl.PROTOCOL_TLS_SERVER, files)
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if files.require_client_certificate else ssl.CERT_OPTIONAL
    return context


def _client(files: TlsFiles, *, check_hostname: bool) -> ssl.SSLContext:
    context = _base(ssl.PROTOCOL_TLS_CLIENT, files)
    context.check_hostname = check_hostname
    return context


def _only_serving(files: TlsFiles) -> ssl.SSLContext:
    context = _server(files)
    context.verify_mode = ssl.CERT_NONE
    return context


def _handshake_problem(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Shake hands in memory; what either side has against the other's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_side=False)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    left: list[Callable[[], None]] = [asking.do_handshake, answering.do_handshake]
    for _ in range(10):  # TLS 1.3 takes two rounds
        for step in tuple(left):
            try:
                step()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return trouble(error)
            left.remove(step)
    return "the handshake has no end" if left else ""
