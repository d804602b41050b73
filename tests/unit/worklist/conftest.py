import shutil

import pytest

from triage_agent.worklist import SqlWorklist, open_engine, upgrade


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "triage.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(template, tmp_path):
    return shutil.copy(template, tmp_path / "triage.db")


@pytest.fixture
def engine(database):
    engine = open_engine(f"sqlite:///{database}")
    yield engine
    engine.dispose()


@pytest.fixture
def worklist(engine):
    return SqlWorklist(engine)
