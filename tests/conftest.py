import pytest
from support import ports


@pytest.fixture
def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()
