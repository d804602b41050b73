"""Paths of instances that wait on a machine until the object store has them: they say on which one.

`held/<machine>/incoming/...` is in the write-ahead folder of that machine, and will be the object `incoming/...`.
"""

import re

from triage_agent.domain.spools import HELD

_HELD = re.compile(re.escape(HELD) + r"/(?P<machine>[0-9a-f]{16})/(?P<key>.+)")


def held_path(machine: str, key: str) -> str:
    """The path of what waits on a machine to become the object `key`."""
    return f"{HELD}/{machine}/{key}"


def split_path(path: str) -> tuple[str | None, str]:
    """On which machine it waits, None where the store has it; and the object's key."""
    found = _HELD.fullmatch(path)
    return (found["machine"], found["key"]) if found else (None, path)
