"""What the trials share: agents that start in an instant, with and without a disk that can fail."""

import gc
import logging

import pytest
from pynetdicom.transport import AssociationSocket
from support.faultsite import Images
from support.launcher import Launcher
from support.peers import close_for_sure
from support.powerloss import Disk, compiled


@pytest.fixture(autouse=True, scope="module")
def _the_dead_leave_no_sockets_and_few_words():
    """What is left to the garbage collector all the same goes here, and not in a later module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssociationSocket, "_shutdown_socket", close_for_sure)
        logger = logging.getLogger("pynetdicom")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # senders that find nobody say so twenty times a second
        yield
        logger.setLevel(level)
        gc.collect()


@pytest.fixture(scope="session")
def launcher():
    running = Launcher()
    yield running
    running.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def disk_launcher(library):
    """Its agents can be started on a `Disk`."""
    running = Launcher({"LD_PRELOAD": str(library)})
    yield running
    running.close()


@pytest.fixture
def disk(library, tmp_path):
    made = Disk(library, tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def images(tmp_path):
    return Images(tmp_path)
