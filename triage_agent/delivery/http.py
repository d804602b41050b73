"""HTTP to a destination: one connection that is kept, one exchange at a time, whatever the peer does.

No proxy is taken from the environment, and no redirection is followed: results go where the site says.
"""

import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from time import time
from types import MappingProxyType

import httpcore

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.http_wire import Deadline, Wire
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.errors import DeliveryError

_FAREWELL_SECONDS = 1.0  # for a thread to notice that its connection was cut
_KEPT_SECONDS = 30.0  # for a next object; many servers close idle connections after a minute
_LONGEST_ANSWER = 1 << 20  # bytes; an answer to one object has some hundreds
_LONGEST_WAIT = timedelta(hours=1)  # that a peer may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a peer said; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    body: bytes = b""

    @property
    def retry_after(self) -> timedelta | None:
        """How long the peer wants to be left alone (RFC 9110 section 10.2.3); None where it does not say."""
        said = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(said) if said.isdecimal() else parsedate_to_datetime(said).timestamp() - time()
        except (ValueError, OverflowError, TypeError):
            return None
        return timedelta(seconds=min(max(0.0, seconds), _LONGEST_WAIT.total_seconds()))


class HttpClient:
    """Asks one peer; safe to use from several threads, which then wait for each other."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lock = threading.Lock()  # an answer belongs to the one request that waits for it
        self._closings = 0  # a request that was begun before the last one connects no more
        self._deadline = Deadline()
        self._wire = Wire(endpoint.http, endpoint.connect_seconds, self._deadline)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # not used: `Wire` makes its own of the site's files
            max_connections=1,
            keepalive_expiry=_KEPT_SECONDS,
            network_backend=self._wire,
        )

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: Sequence[bytes] | None = None,
        *,
        repeats: bool = True,
    ) -> Answer:
        """One exchange, whole: it ends within the endpoint's times for a connection and for an answer together.

        `path` is below the service's root, with its query, and begins with a slash where it is not empty. `content` is
        sent piece after piece. A request that finds the kept connection gone is put once more on a new one, unless not
        `repeats`.

        Raises:
            DeliveryError: there is no answer, or none that makes sense.
        """
        closings = self._closings
        with self._lock:
            made = self._wire.connections
            try:
                try:
                    return self._exchange(method, path, headers or {}, content)
                except (httpcore.NetworkError, httpcore.RemoteProtocolError):
                    if not repeats or self._wire.connections != made or self._closings != closings:
                        raise
                    return self._exchange(method, path, headers or {}, content)
            except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
                self._pool.close()
                raise self._away(error) from error

    def close(self) -> None:
        """Hang up; the next request connects again. One that waits for its answer fails in a way a retry may mend."""
        self._closings += 1
        self._wire.cut()
        if self._lock.acquire(timeout=_FAREWELL_SECONDS):
            try:
                self._pool.close()
            finally:
                self._lock.release()

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], content: Sequence[bytes] | None) -> Answer:
        endpoint, access = self._endpoint, self._endpoint.http
        seconds = endpoint.connect_seconds + endpoint.answer_seconds
        self._deadline.begin(seconds)
        url = httpcore.URL(
            scheme=b"https" if access.secure else b"http",
            host=endpoint.host.encode("idna"),
            port=endpoint.port,
            target=(access.path + path or "/").encode(),
        )
        sent = {"Host": _host(endpoint), "User-Agent": "triage-agent", "Accept-Encoding": "identity", **headers}
        if content is not None:
            sent["Content-Length"] = str(sum(map(len, content)))
        if access.authorization:
            sent["Authorization"] = access.authorization
        with self._pool.stream(
            method,
            url,
            headers=[(name.encode(), value.encode()) for name, value in sent.items()],
            content=None if content is None else iter(content),
            extensions={"timeout": {"pool": seconds}},
        ) as response:
            body = bytearray()
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > _LONGEST_ANSWER:
                    raise DeliveryError(f"{endpoint}: its answer has no end", permanent=False)
            said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return Answer(status=response.status, headers=said, body=bytes(body))

    def _away(self, error: Exception) -> DeliveryError:
        what, remedy = _trouble(error)
        return DeliveryError(f"{self._endpoint}: {what}", permanent=False, remedy=remedy, away=True)


def _host(endpoint: Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host.encode("idna").decode()
    return host if endpoint.port == (443 if endpoint.http.secure else 80) else f"{host}:{endpoint.port}"


def _trouble(error: Exception) -> tuple[str, str]:  # noqa: PLR0911 - a table
    """What the network says in a reader's words, and what to look at; a peer's own words are never repeated."""
    running, files = (
        "check that the peer is running, and its url",
        "check the peer's ca, certificate and key, and its url",
    )
    cause = error.args[0] if error.args else None
    match error, cause:
        case httpcore.TimeoutException(), _:
            return "did not answer in time", running
        case httpcore.ProtocolError(), _:
            return "does not speak HTTP, or hung up", running
        case _, ssl.SSLError():
            return f"no TLS connection ({trouble(cause)})", files
        case _, FileNotFoundError() | PermissionError():
            return f"a certificate's file cannot be read ({trouble(cause)})", files
        case _, socket.gaierror():
            return "the host's name is not known", "check the peer's url"
        case _, OSError():
            what = "refused" if isinstance(cause, ConnectionRefusedError) else trouble(cause)
            return f"no connection ({what})", running
    return "no connection", running
