"""Half of the long test files one day, half the next: `make test` ends in time, `HALF=all make test` leaves none out.

Unit, contract and browser tests, and what shows the first promises, run every day.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

TESTS = Path(__file__).parents[1]
FOLDERS = ("acceptance", "fuzz", "integration", "unit/learning")
ALWAYS = (
    "acceptance/test_studies.py",
    "acceptance/test_kill.py",
    "acceptance/test_commands.py",
    "acceptance/faults/test_failpoints.py",
    "acceptance/faults/test_power_cuts.py",
    "integration/test_learning_embedded.py",
)


def half():
    """Which half is asked for: 0 or 1; None for both, as everywhere but in `make test`."""
    asked = os.environ.get("TRIAGE_HALF", "all")
    if asked == "all":
        return None
    return datetime.now(UTC).toordinal() % 2 if asked == "today" else int(asked) % 2


def is_in(path, which):
    """Whether a file is in that half."""
    name = Path(path).relative_to(TESTS).as_posix()
    return which is None or name in ALWAYS or not name.startswith(FOLDERS) or crc32(name.encode()) % 2 == which
