"""A decoder process with files that do to it what a hostile one may do: run in place of `isolated.child`."""

import os
import signal
import sys
import time
from pathlib import Path

from triage_agent.imaging.isolated import child


def _die(number):
    os.kill(os.getpid(), number)


def _killed_once(path):
    path.write_bytes(b"HARMLESS")
    _die(signal.SIGKILL)


def _spin():
    while True:
        pass


def _shout(_path):
    for _ in range(5000):
        os.write(2, b"warning: Doe^Jane has an error in her pixels\n")
    raise ValueError("Doe^Jane")


FAULTS = {
    b"SEGV": lambda _path: _die(signal.SIGSEGV),
    b"ABRT": lambda _path: os.abort(),
    b"KILL": lambda _path: _die(signal.SIGKILL),
    b"ONCE": _killed_once,
    b"EXIT": lambda _path: os._exit(3),
    b"SLEEP": lambda _path: time.sleep(600),
    b"SPIN": lambda _path: _spin(),
    b"MEMORY": lambda _path: bytearray(1 << 40),
    b"SHOUT": _shout,
    b"NONSENSE": lambda _path: os.write(int(sys.argv[1]), b"\xff" * 64),
}


def patched(original):
    def load(path, **rule):
        fault = FAULTS.get(Path(path).read_bytes()[:16].strip())
        if fault is not None:
            fault(Path(path))
        return original(path, **rule)

    return load


if __name__ == "__main__":
    child.load_with_header = patched(child.load_with_header)
    child.read_headers = patched(child.read_headers)
    child.main()
