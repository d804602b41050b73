import itertools
import shutil
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine
from support.postgres import postgres_database, postgres_server
from support.story import Story

from triage_agent.worklist import MemoryWorklist, SqlWorklist, open_engine, upgrade
from triage_agent.worklist.tables import Base

_numbers = itertools.count(1)
_EMPTY = ";".join(
    [
        "SET LOCAL session_replication_role = replica",
        *(str(one.delete()) for one in reversed(Base.metadata.sorted_tables)),
    ]
)


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_shared(postgres):
    """A database with our tables, an engine on it for all tests, and a way past the tables' triggers to empty them."""
    with postgres_database(postgres, "triage") as url:
        upgrade(url)
        engine, emptying = open_engine(url), create_engine(url, pool_pre_ping=True)  # tests cut connections
        yield url, engine, emptying
        engine.dispose()
        emptying.dispose()


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
    url, _, emptying = postgres_shared
    with emptying.begin() as connection:
        connection.exec_driver_sql(_EMPTY)
    return url


@contextmanager
def opened(request, kind):
    """An engine on a database of that kind; that of Postgres, whose connections take long to make, is every test's."""
    url = request.getfixturevalue(f"{kind}_url")
    if kind == "postgres":
        yield request.getfixturevalue("postgres_shared")[1]
        return
    engine = open_engine(url)
    yield engine
    engine.dispose()


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


@pytest.fixture(params=DATABASES)
def engine(request):
    with opened(request, request.param) as engine:
        yield engine


@pytest.fixture(params=["memory", *DATABASES])
def worklist(request):
    if request.param == "memory":
        yield MemoryWorklist()
        return
    with opened(request, request.param) as engine:
        yield SqlWorklist(engine)


@pytest.fixture
def story(worklist):
    return Story(worklist)
