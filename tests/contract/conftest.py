import itertools
import shutil

import pytest
from sqlalchemy import NullPool, create_engine, text
from support.postgres import postgres_database, postgres_server
from support.story import Story

from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine, upgrade
from triage_agent.worklist.tables import Base

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_shared(postgres):
    """A database with our tables, and a way past their triggers to empty them."""
    with postgres_database(postgres, "triage") as url:
        upgrade(url)
        yield url, create_engine(url, poolclass=NullPool)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path):
    shutil.copy(sqlite_template, tmp_path / "triage.db")
    return f"sqlite:///{tmp_path / 'triage.db'}"


@pytest.fixture
def postgres_url(postgres_shared):
    url, engine = postgres_shared
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
    return url


@pytest.fixture
def empty_url(request, tmp_path):
    """The address of a database of the kind asked for, without any tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'empty.db'}"
        return
    with postgres_database(request.getfixturevalue("postgres"), f"empty_{next(_numbers)}") as url:
        yield url


DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.external)]


@pytest.fixture(params=DATABASES)
def database_url(request):
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(params=["memory", *DATABASES])
def worklist(request):
    if request.param == "memory":
        yield MemoryWorklist()
        return
    engine = open_engine(request.getfixturevalue(f"{request.param}_url"))
    yield SqlWorklist(engine)
    engine.dispose()


@pytest.fixture
def story(worklist):
    return Story(worklist)
