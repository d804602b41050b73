import os

import pytest
from hypothesis import settings
from support import longest, ports, rotation
from support.compiled import compiled_once

# What refuses a change must refuse it twice; other runs go on looking for what nobody thought of.
settings.register_profile("steady", derandomize=True)
if os.environ.get("TRIAGE_REQUIRE_EXTERNAL"):
    settings.load_profile("steady")


def pytest_collection_modifyitems(items):
    """The part of the day; long files first; within them, and among the others, the order stays random."""
    which = rotation.part()
    items[:] = [item for item in items if rotation.is_in(item.path, which)]
    items.sort(key=lambda item: longest.place(item.path))


@pytest.fixture(autouse=True, scope="session")
def _sql_is_compiled_once():
    with compiled_once():
        yield


@pytest.fixture
def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()
