"""What the processes beside an agent have in common that speak with it about a model: environment, patience."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import triage_agent

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "USER", "XDG_CACHE_HOME")
_PASSED_PREFIXES = ("LC_", "LD_", "PYTHON", "CUDA_", "NVIDIA_", "CUBLAS_", "HF_", "TORCH", "OMP_", "MKL_", "MALLOC_")


def environment(*prefixes: str) -> dict[str, str]:
    """What Python, a model and its libraries need of ours, and what begins so; no password or token of the site's."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or (name.startswith(_PASSED_PREFIXES) and not name.endswith("TOKEN"))
    }
    passed |= {name: value for name, value in os.environ.items() if prefixes and name.startswith(prefixes)}
    # The same code as here, however this process found it.
    package = str(Path(triage_agent.__file__).resolve().parents[1])
    passed["PYTHONPATH"] = os.pathsep.join(filter(None, (package, passed.get("PYTHONPATH"))))
    return passed


def bound(connection: Connection[Any, Any], seconds: int) -> None:
    """Who takes nothing for so long has hung up: `OSError` for whoever sends, before whom all others wait."""
    with socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, 0))
