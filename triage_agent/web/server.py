"""uvicorn in a thread of its own, so that every role can answer probes."""

import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from triage_agent.domain.errors import ConfigurationError
from triage_agent.web.door import Entrance, Patience

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_PING_SECONDS = 20.0  # between two pings to who listens for events; without an answer for as long it has gone
_LONGEST_MESSAGE = 4096  # bytes; who listens has nothing to say


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """PEM files: ours, its key, and who signs callers' certificates, which all must have then."""

    certificate: Path
    key: Path
    ca: Path | None = None


class _Channel(WebSocketsSansIOProtocol):
    """A WebSocket whose peer may be hanging up in the moment in which we stop: uvicorn's stop would fail of it."""

    def shutdown(self) -> None:
        """Say goodbye, where there is still somebody to say it to."""
        try:
            super().shutdown()
        except InvalidState:
            self.transport.close()


class WebServer:
    """Serves an application on host:port from `start` to `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int, tls: ServerTls | None = None) -> None:
        self._address = (host, port)
        self._tls = tls
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            loop="triage_agent.web.door:PromptLoop",
            http=Patience,
            ws=_Channel,
            ws_max_size=_LONGEST_MESSAGE,
            ws_ping_interval=_PING_SECONDS,
            ws_ping_timeout=_PING_SECONDS,
            ws_per_message_deflate=False,  # a report has some hundred bytes
        )
        if tls is not None:
            config.ssl_certfile, config.ssl_keyfile = str(tls.certificate), str(tls.key)
            config.ssl_ca_certs = None if tls.ca is None else str(tls.ca)
            config.ssl_cert_reqs = ssl.CERT_NONE if tls.ca is None else ssl.CERT_REQUIRED
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def start(self) -> None:
        """Bind and serve.

        Raises:
            ConfigurationError: the address is in use or not ours, or a certificate's file cannot be used.
        """
        try:
            self._server.config.load()
        except OSError as error:  # what OpenSSL finds wrong is one, too
            raise ConfigurationError(
                f"[web.tls] cannot be used: {_wrong_with(self._tls, error)}",
                remedy="`triage-agent check` says more of them in its line `web certificate`",
            ) from None
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = Entrance(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            raise ConfigurationError(
                f"[web] cannot listen on {host}:{port}: {error.strerror}", remedy="choose another web.host or web.port"
            ) from None
        self._socket = listener
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="web", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """Let requests in flight end, then close."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()


def _wrong_with(tls: ServerTls | None, error: OSError) -> str:
    """Which file cannot be read; else all of them, since OpenSSL says what is wrong and not with which."""
    why = error.strerror or type(error).__name__
    if tls is None:
        return why
    files = {"certificate": tls.certificate, "key": tls.key} | ({"ca": tls.ca} if tls.ca else {})
    for name, path in files.items():
        try:
            path.open("rb").close()
        except OSError as unreadable:
            return f"{name} {path}: {(unreadable.strerror or type(unreadable).__name__).lower()}"
    return f"{why}; {', '.join(f'{name} {path}' for name, path in files.items())}"
