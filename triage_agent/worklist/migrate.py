"""Bringing a database to the tables this version of the agent needs."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, make_url, text

from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.worklist.engine import READ_ONLY, open_engine, waiting, without_password
from triage_agent.worklist.reserve import give_up, is_full
from triage_agent.worklist.transactions import is_refused, telling_when_away

_PACKAGE = Path(__file__).resolve().parents[1]
_ADVISORY_LOCK = 0x7472_6961_6765  # "triage"
_PATIENCE_SECONDS = 60  # for whoever migrates the same database at this moment


def upgrade(url: str) -> str:
    """Apply the migrations that the database at `url` lacks; returns the revision it then has.

    All in one transaction and under a lock, so that two processes may do it at once, and a crash leaves it as it was.

    Raises:
        ConfigurationError: the address is wrong, its role may not make tables, or a newer version of the agent made
            the database.
    """
    engine = open_engine(url, bounded=False).execution_options(**waiting(_PATIENCE_SECONDS))
    try:
        _upgrade(engine)
    except WorklistUnavailableError as error:
        if is_refused(error.__cause__):
            raise _only_the_owner(url) from error
        if not (is_full(error.__cause__) and give_up(engine)):
            raise
        _upgrade(engine)
    finally:
        engine.dispose()
    return _head()


def _upgrade(engine: Engine) -> None:
    try:
        with telling_when_away(), engine.begin() as connection:  # on SQLite this is the lock
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE_SECONDS}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationError(
            f"the database cannot be brought to this version: {error}",
            remedy="run the version of the agent that made it",
        ) from error


def current(url: str) -> str | None:
    """The revision of the database at `url`; None when it has no tables of ours."""
    try:
        engine = open_engine(url, create=False, reading=True)
    except WorklistUnavailableError:  # no file: no tables
        return None
    try:
        return _revision(engine)
    finally:
        engine.dispose()


def has_tables(url: str) -> bool:
    """Whether the database at `url` has exactly the tables that this version needs; False, too, while it is away."""
    try:
        return current(url) == _head()
    except WorklistUnavailableError:
        return False


def is_current(engine: Engine) -> bool:
    """Whether the database has exactly the tables that this version needs."""
    return _revision(engine) == _head()


def migrations_folder() -> Path:
    """Where the migrations are: beside the installed package, or at the root of the repository."""
    installed = _PACKAGE / "_share" / "migrations"
    return installed if installed.is_dir() else _PACKAGE.parent / "migrations"


def _only_the_owner(url: str) -> ConfigurationError:
    address = make_url(url)
    role = address.username or "the role of [database] url"
    owners = without_password(address.set(username="triage_owner")).render_as_string()
    return ConfigurationError(
        f"{role} may not make or change the worklist's tables, and this version needs it to be done",
        remedy=f"their owner does it: TRIAGE_AGENT__DATABASE__URL='{owners}' triage-agent db upgrade, then grants.sql "
        "again (docs/operations.md)",
    )


def _revision(engine: Engine) -> str | None:
    with telling_when_away(), engine.execution_options(**READ_ONLY).connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


@cache
def _head() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise ConfigurationError(f"no migrations in {migrations_folder()}", remedy="install the agent again")
    return head
