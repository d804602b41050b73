"""What the trials share: agents that start in an instant, with and without a disk that can fail."""

import gc
import itertools
import logging

import pytest
from pynetdicom.transport import AssociationSocket
from sqlalchemy import create_engine, make_url, text
from support.faultsite import Images
from support.launcher import Launcher
from support.peers import close_for_sure
from support.postgres import postgres_database, postgres_server
from support.powerloss import Disk, compiled

from triage_agent.worklist.migrate import upgrade


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


@pytest.fixture(scope="module")
def postgres():
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def make_database(postgres):
    """Makes databases with the worklist's tables, by copying one."""
    numbers = itertools.count()
    admin = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with postgres_database(postgres, "pattern") as pattern:
        upgrade(pattern)

        def make():
            name = f"trial{next(numbers)}"
            with admin.connect() as connection:
                connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE pattern'))
            return make_url(postgres).set(database=name).render_as_string(hide_password=False)

        yield make
    admin.dispose()


@pytest.fixture
def images(tmp_path):
    return Images(tmp_path)
