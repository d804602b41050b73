import pytest

from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.worklist import current, is_current, migrate, open_engine, upgrade


def test_the_migrations_are_found_beside_the_repository():
    assert (migrate.migrations_folder() / "env.py").is_file()


def test_the_migrations_are_found_beside_the_installed_package(tmp_path, monkeypatch):
    (tmp_path / "_share" / "migrations").mkdir(parents=True)
    monkeypatch.setattr(migrate, "_PACKAGE", tmp_path)
    assert migrate.migrations_folder() == tmp_path / "_share" / "migrations"


def test_a_migrated_database_is_current(engine, database):
    assert is_current(engine)
    assert current(f"sqlite:///{database}") == upgrade(f"sqlite:///{database}")


def test_a_new_file_has_no_revision(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    assert current(url) is None
    engine = open_engine(url)
    assert not is_current(engine)
    engine.dispose()


def test_an_upgrade_of_a_server_that_is_away_says_so():
    with pytest.raises(WorklistUnavailableError):
        upgrade("postgresql+psycopg://me@127.0.0.1:1/triage")


def test_an_installation_without_migrations_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(migrate, "_PACKAGE", tmp_path / "package")
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    migrate._head.cache_clear()
    with pytest.raises(ConfigurationError, match="no migrations"):
        migrate._head()
    migrate._head.cache_clear()
