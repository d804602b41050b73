"""What stands between the agent and an S3 server and misbehaves as it is told: cuts, refuses, hangs, or lies."""

import http.client
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CUT, SWALLOW, HANG, SHORTEN, PAGE = "cut", "swallow", "hang", "shorten", "page"
SLOW_DOWN = (503, "SlowDown")
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "expect", "date", "server"}
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>as told</Message></Error>'


class Faults:
    """A server in front of another one.

    Attributes:
        fault: asked for each request, with its method and path: None to hand it on, CUT (in the middle of its body),
            SWALLOW (a PUT is answered with success and goes nowhere), HANG, SHORTEN (a byte less is stored, and that is
            called a success), PAGE (what stands before the store answers 404 with a page), or a status with S3's code.
        seen: the requests that came, in their order.
    """

    def __init__(self, behind):
        self.fault = lambda _method, _path: None
        self.seen = []
        self.longest_hang = threading.Event()
        faults = self

        class Handler(_Handler):
            owner = faults

        Handler.behind = behind
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.handle_error = lambda *_: None
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self):
        self.longest_hang.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def away(self):
        """From now on every connection is cut."""
        self.fault = lambda _method, _path: CUT

    def back(self):
        self.fault = lambda _method, _path: None

    def first(self, count, fault, method="PUT"):
        """The next `count` requests of a method have the fault."""
        left = [count]

        def look(asked, _path):
            if asked != method or not left[0]:
                return None
            left[0] -= 1
            return fault

        self.fault = look

    def puts(self):
        """The paths of the objects that were put, as often as they were."""
        return [path.partition("?")[0] for method, path in self.seen if method == "PUT"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: Faults
    behind: int
    timeout = 60

    def _do(self):
        self.owner.seen.append((self.command, self.path))
        fault = self.owner.fault(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault == CUT:
            self.rfile.read(length // 2)
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(2)
            return
        body = self.rfile.read(length)
        if fault == HANG:
            self.owner.longest_hang.wait(30)
            self.close_connection = True
        elif fault == SWALLOW:
            self._answer(200, {"ETag": '"0"'}, b"")
        elif fault == SHORTEN:
            self._hand_on(body[:-1], leave=("x-amz-checksum-sha256", "content-md5", "content-length"))
        elif fault == PAGE:
            self._answer(404, {"Content-Type": "text/html"}, b"<html>no backend</html>")
        elif fault is not None:
            self._answer(fault[0], {"Content-Type": "application/xml"}, _ERROR.format(fault[1]).encode())
        else:
            self._hand_on(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815 - http.server's names

    def _hand_on(self, body, leave=()):
        onward = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=60)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in {*_HOP_BY_HOP, *leave}
            }
            onward.request(self.command, self.path, body, headers)
            answer = onward.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            onward.close()

    def _answer(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        # A HEAD's length is the object's.
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def faults(server):
    """In front of a server of `support.s3`."""
    made = Faults(server.port)
    try:
        yield made
    finally:
        made.close()
