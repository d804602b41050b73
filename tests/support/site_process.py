"""The pages in a process of their own, so that what they cost can be told apart: `python site_process.py FOLDER PORT`.

FOLDER has a hospital's database already; SIGTERM ends it.
"""

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from support.site import Hospital

from triage_agent.web.server import WebServer


class Running(Hospital):
    """A hospital in the present."""

    @property
    def now(self):
        return datetime.now(UTC)

    @now.setter
    def now(self, _):
        pass


def main(folder, port):
    server = WebServer(Running(folder).app, "127.0.0.1", port)
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(Path(sys.argv[1]), int(sys.argv[2]))
