"""An S3 server on loopback (moto's), in a process of its own, and buckets in it."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager

from support.ports import free_port

KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
_START_SECONDS = 60


class S3Server:
    """A running server; what it has goes with it."""

    def __init__(self, port, process):
        self.port = port
        self._process = process
        self.endpoint = f"http://127.0.0.1:{port}"

    def bucket(self):
        """The name of a new bucket; moto lets anybody make one by an unsigned PUT."""
        name = f"spool-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            assert answer.status == 200
        return name

    def freeze(self):
        """It takes connections and says nothing any more."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self._process.pid, signal.SIGCONT)


@contextmanager
def s3_server():
    """Started; moto warns of its own use of libraries, which concerns nobody here."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = S3Server(port, process)
            _wait(server, process)
            yield server
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def _wait(server, process):
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < deadline, "the server does not answer"
        try:
            with urllib.request.urlopen(f"{server.endpoint}/moto-api/", timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.05)
