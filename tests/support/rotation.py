"""A third of the long test files a day: `make test` ends in time, `PART=all make test` leaves none out.

Unit, contract and browser tests, and what shows the first promises, run every day.
"""

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zlib import crc32

TESTS = Path(__file__).parents[1]
PARTS = 3
FOLDERS = ("acceptance", "fuzz", "integration", "unit/learning")
ALWAYS = (
    "acceptance/test_studies.py",
    "acceptance/test_kill.py",
    "acceptance/test_commands.py",
    "acceptance/test_listener_processes.py",
    "acceptance/test_object_store.py",
    "acceptance/faults/test_failpoints.py",
    "acceptance/faults/test_power_cuts.py",
    "integration/test_learning_embedded.py",
    "integration/test_listener_sockets.py",
    "integration/test_object_store.py",
    "integration/test_object_store_away.py",
)


def part():
    """Which part is asked for: 0, 1 or 2; None for all, as everywhere but in `make test`."""
    asked = os.environ.get("TRIAGE_PART", "all")
    if asked == "all":
        return None
    return datetime.now(UTC).toordinal() % PARTS if asked == "today" else int(asked) % PARTS


@cache  # of a file, not of each of its tests
def is_in(path, which):
    """Whether a file is in that part."""
    if which is None:
        return True
    name = Path(path).relative_to(TESTS).as_posix()
    return name in ALWAYS or not name.startswith(FOLDERS) or crc32(name.encode()) % PARTS == which
