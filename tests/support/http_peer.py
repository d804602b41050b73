"""A peer that speaks HTTP, made of the standard library's server: answers each request as a test wants."""

import http.server
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    method: str
    path: str
    headers: dict
    body: bytes


@dataclass
class Said:
    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)


class HttpPeer:
    """Keeps what it is asked; `answer` makes a Said of an Asked, or returns None to hang up."""

    def __init__(self, answer, tls=None):
        self.asked, self.connections, self.answer = [], 0, answer
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                peer.connections += 1
                super().setup()

            def handle_one(self):
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                peer.asked.append(asked)
                said = peer.answer(asked)
                if said is None:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_one  # noqa: N815 - http.server's names

            def log_message(self, *what):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that hangs up, or fails the handshake, is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@contextmanager
def http_peer(answer, tls=None):
    peer = HttpPeer(answer if callable(answer) else lambda _asked: answer, tls)
    try:
        yield peer
    finally:
        peer.close()


def server_tls(files, require_client=True):
    """A server's side of mutual TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_NONE
    return context
