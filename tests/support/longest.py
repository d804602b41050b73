"""Which test files take longest, so that they begin first: by xdist's `loadfile` what begins late ends late, and alone.

From the durations of whole runs; what is not named here takes less, and folders stand for their files. A wrong place
costs time and nothing else.
"""

from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
LONGEST = (
    "acceptance/faults/test_failpoints.py",
    "integration/test_learning_embedded.py",
    "integration/test_sr_validators.py",
    "fuzz",
    "acceptance/faults/test_two_workers.py",
    "acceptance/faults/test_outage.py",
    "acceptance/test_sqlite_away.py",
    "acceptance/test_commands.py",
    "acceptance/test_fetching.py",
    "acceptance/test_postgres.py",
    "acceptance/test_drain.py",
    "acceptance/test_orthanc.py",
    "acceptance/test_kill.py",
    "contract/test_worklist_concurrency.py",
    "integration/test_decoders.py",
    "integration/test_learning_train.py",
    "acceptance/faults",
    "browser",
    "acceptance",
    "unit/learning",
    "integration",
)
_PATHS = [TESTS / name for name in LONGEST]


@cache  # of a file, not of each of its tests
def place(path):
    """Where a test file stands, the longest first."""
    places = (number for number, one in enumerate(_PATHS) if path == one or one in path.parents)
    return next(places, len(_PATHS))
