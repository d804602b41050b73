"""Programs that are not Python's: found, or the test says that it was left out and why."""

import os
import shutil

import pytest

REQUIRE = "TRIAGE_REQUIRE_EXTERNAL"


def require_program(*names: str) -> str:
    """The path of the first of `names` that is installed.

    Where none is, the test is skipped with their names, or fails if TRIAGE_REQUIRE_EXTERNAL is 1.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    message = f"{' or '.join(names)} is not installed"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{message}, and {REQUIRE}=1 asks for it")
    pytest.skip(message)
