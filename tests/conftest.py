import pytest
from support import longest, ports
from support.compiled import compiled_once


def pytest_collection_modifyitems(items):
    """Long files first; within them, and among the others, the order stays random."""
    items.sort(key=lambda item: longest.place(item.path))


@pytest.fixture(autouse=True, scope="session")
def _sql_is_compiled_once():
    with compiled_once():
        yield


@pytest.fixture
def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()
