import pytest
from support import longest, ports, rotation
from support.compiled import compiled_once


def pytest_collection_modifyitems(items):
    """The half of the day; long files first; within them, and among the others, the order stays random."""
    which = rotation.half()
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
