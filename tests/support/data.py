"""The real data beside the repository, which a public clone does not have."""

import os
from pathlib import Path

import pytest
from support.programs import REQUIRE

_ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared_data(*parts):
    """A file or folder of ../shared/data.

    Where it is absent the test is skipped, or fails if TRIAGE_REQUIRE_EXTERNAL is 1.
    """
    path = _ROOT.joinpath(*parts)
    if path.exists():
        return path
    message = f"{path} is absent"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"{message}, and {REQUIRE}=1 asks for it")
    pytest.skip(message)
