"""A real syslog receiver: Debian's rsyslogd, over TLS with certificates for both sides, or over TCP."""

import re
import subprocess
import time
from pathlib import Path

from support.programs import require_program

_START_SECONDS = 60


class Rsyslog:
    """rsyslogd with one input, which writes each message to a line of a file."""

    def __init__(self, folder, port, tls=None):
        self.folder, self.port, self._process = Path(folder), port, None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "received"
        driver = 'StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid"' if tls else ""
        files = (
            f'global(DefaultNetstreamDriverCAFile="{tls.ca}" DefaultNetstreamDriverCertFile="{tls.certificate}"'
            f' DefaultNetstreamDriverKeyFile="{tls.key}")'
            if tls
            else ""
        )
        (self.folder / "rsyslog.conf").write_text(
            f'{files}\nglobal(workDirectory="{self.folder}" maxMessageSize="32k")\n'
            'global(parser.escapeControlCharactersOnReceive="off")\n'
            f'module(load="imtcp" {driver})\ninput(type="imtcp" port="{port}" address="127.0.0.1")\n'
            'template(name="whole" type="list") { property(name="pri") constant(value=" ")'
            ' property(name="structured-data") constant(value=" ") property(name="app-name") constant(value=" ")'
            ' property(name="msgid") constant(value=" ") property(name="msg") constant(value="\\n") }\n'
            f'action(type="omfile" file="{self.file}" template="whole")\n'
        )

    def start(self):
        program = require_program("/usr/sbin/rsyslogd", "rsyslogd")
        config = ["-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([program, "-n", *config], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def _listens(self):
        return f":{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def stop(self):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def lines(self):
        """What was received: (priority, sequenceId, application, message id, message)."""
        if not self.file.exists():
            return []
        shape = re.compile(r'(\d+) \[meta sequenceId="(\d+)"\] (\S+) (\S+) (.*)')
        return [shape.fullmatch(line).groups() for line in self.file.read_text("utf-8").splitlines()]

    def await_lines(self, number, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.lines()) < number and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.lines()
