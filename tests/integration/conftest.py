import shutil

import pytest
from support.associations import PATIENCE, eventually, threads
from support.instances import dx, write_part10
from support.listener import listen
from support.s3 import s3_server
from support.site import Hospital

from triage_agent.worklist import upgrade


@pytest.fixture
def listening(tmp_path):
    running = listen(tmp_path / "spool", max_associations=60)
    yield running
    running.server.stop(1)
    assert eventually(lambda: threads() == []), "an association outlived its server"


@pytest.fixture
def impatient(tmp_path):
    """A listener that waits for two seconds where it usually waits for thirty."""
    running = listen(tmp_path / "impatient", timeout_seconds=2.0)
    yield running
    running.server.stop(1)
    assert eventually(lambda: threads() == [])


@pytest.fixture
def patient(tmp_path):
    """A listener that gives nobody up in a test's time: what ends there was not waited for."""
    running = listen(
        tmp_path / "patient", max_associations=5, timeout_seconds=4 * PATIENCE, request_seconds=4 * PATIENCE
    )
    yield running
    running.server.stop(1)
    assert eventually(lambda: threads() == [])


@pytest.fixture
def part10(tmp_path):
    """A file to send."""
    return write_part10(tmp_path / "sent.dcm", dx())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    """A database of its own, migrated."""
    shutil.copy(sqlite_template, tmp_path / "triage.db")
    return f"sqlite:///{tmp_path / 'triage.db'}"


@pytest.fixture
def hospital(tmp_path):
    """The pages, with a study that has come and an account for each role."""
    made = Hospital(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture(scope="session")
def s3():
    """An S3 server on loopback."""
    with s3_server() as running:
        yield running
