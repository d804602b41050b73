"""How long one waits for another process to take what it is sent."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def bound(connection: Connection[Any, Any], seconds: int) -> None:
    """Who takes nothing for so long has hung up: `OSError` for whoever sends, before whom all others wait."""
    with socket.socket(fileno=os.dup(connection.fileno())) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, 0))
