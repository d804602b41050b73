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


def with_nothing_missing(report):
    """Whatever a test is skipped for is missing: a failure where all is required. A test expected to fail is none."""
    if report.skipped and os.environ.get(REQUIRE) == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"left out, and {REQUIRE}=1 asks for all: {report.longrepr}"
    return report
