"""`db`: the worklist's migrations, its backup with the spool, and the way back from either."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from triage_agent.bootstrap import build_belonging, build_spool, open_worklist
from triage_agent.builders import read_worklist
from triage_agent.cli import stores
from triage_agent.cli.options import ConfigOption, JsonOption, counted, keep_private, print_json, stdout, tell
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.domain.visible import visible
from triage_agent.settings import Settings, config_path, load_settings
from triage_agent.spooling import receiving_folder

_LOOK_SECONDS = 1.0
_FRESH = timedelta(hours=1)  # so old a dump may be that was made for this backup
_WithStudies = typer.Option(
    "--with-studies",
    help="Also where the database has studies: this spool is its own from now on, whatever was before.",
)
_Link = typer.Option("--link", help="Hard links instead of copies of the spool's files: TO on the same disk.")
_Prune = typer.Option(
    "--prune", help="Delete from TO the originals that retention had deleted before the database's copy."
)
_NOT_IN_THE_SPOOL = (
    "what only a database knows is not in the spool: orders, updates and merges of patients that came by HL7 (have the "
    "RIS send its open orders, and merges, again), workitems as peers have claimed and changed them, who subscribed, "
    "decisions, raised priorities, and the audit trail; `triage-agent db restore` of a backup has them"
)
_LONGEST_DUMP = timedelta(days=1)  # of what was deleted while it was made, it says that it is there

app = typer.Typer(help="The worklist's database.", no_args_is_help=True)


@app.command()
def upgrade(config: ConfigOption = None) -> None:
    """Bring the database to the current migration; `serve` does so by itself on SQLite."""
    from triage_agent.worklist import migrate
    from triage_agent.worklist.engine import shown

    keep_private()
    url = load_settings(config).database_url
    revision = migrate.upgrade(url)
    stdout.print(
        visible(f"database is current: {shown(url)}, migration {revision} (configuration {config_path(config)})"),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def current(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which migration the database is at."""
    from triage_agent.worklist import migrate

    revision = migrate.current(load_settings(config).database_url)
    if as_json:
        print_json({"revision": revision})
    else:
        stdout.print(revision or "empty: run `triage-agent db upgrade`")


@app.command()
def wait(
    config: ConfigOption = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long at most.")] = 600,
) -> None:
    """Wait until the database has this version's tables, which its owner makes by `db upgrade` meanwhile."""
    from triage_agent.worklist import migrate

    url = load_settings(config).database_url
    deadline = time.monotonic() + seconds
    while not migrate.has_tables(url):
        if time.monotonic() > deadline:
            raise TriageError(
                f"the database has not the tables of this version after {seconds:g} s",
                remedy="see that it answers, and run `triage-agent db upgrade` of this version as its owner",
            )
        time.sleep(_LOOK_SECONDS)


@app.command()
def rebuild(
    config: ConfigOption = None,
    with_studies: Annotated[bool, _WithStudies] = False,
    as_json: JsonOption = False,
) -> None:
    """Fill an empty database from the spool: every study is on the worklist again, and is decided again by `serve`.

    From then on they belong together: a spool that was another database's is not any more.
    """
    from triage_agent.intake.rebuild import rebuild as rebuild_from
    from triage_agent.worklist import migrate

    settings = load_settings(config)
    keep_private()
    migrate.upgrade(settings.database_url)
    worklist = open_worklist(settings)
    if worklist.items(limit=1) and not with_studies:
        raise ConfigurationError(
            "[database] url: the database has studies, and is not rebuilt",
            remedy="`serve` adopts files that it lacks by itself; else name an empty database, or say --with-studies",
        )
    build_belonging(settings, worklist).mean()
    result = rebuild_from(
        build_spool(settings),
        worklist,
        settings.study.rule(),
        lambda: datetime.now(UTC),
        words=settings.study.priority_words.words(),
    )
    tell(_NOT_IN_THE_SPOOL)
    if as_json:
        print_json(result)
        return
    stdout.print(
        f"{result.registered} files registered, {result.conflicts} conflicts told again, "
        f"{result.quarantined} quarantined, {result.left} left; `serve` decides the studies"
    )
    if result.left:
        raise typer.Exit(1)


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A folder, made where it is missing; again into it adds what is new.")],
    config: ConfigOption = None,
    link: Annotated[bool, _Link] = False,
    prune: Annotated[bool, _Prune] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the database, then the spool, while the agent works: whatever was acknowledged before is in it."""
    from triage_agent.intake.archive import copy_spool
    from triage_agent.intake.archive import prune as prune_copy
    from triage_agent.worklist import backup as databases
    from triage_agent.worklist.dumps import POSTGRES_FILE

    settings = load_settings(config)
    spool = receiving_folder(settings)
    if to.resolve().is_relative_to(spool.resolve()):
        raise ConfigurationError(f"{to} is in the spool itself", remedy="name a folder elsewhere")
    keep_private()
    try:
        to.mkdir(parents=True, exist_ok=True)
        began = datetime.now(UTC)
        # The database first: a file that it does not know is adopted at start, one that is missing would be lost.
        if databases.is_sqlite(settings.database_url):
            databases.copy_database(settings.database_url, to / databases.SQLITE_FILE)
        else:
            _require_dump(to / POSTGRES_FILE, settings)
            began = datetime.fromtimestamp((to / POSTGRES_FILE).stat().st_mtime, UTC) - _LONGEST_DUMP
        if settings.spool.url:
            copied = stores.copied_out(settings, to / "spool", link=link)
        else:
            copied = copy_spool(spool, to / "spool", link=link)
        pruned = prune_copy(to / "spool", read_worklist(settings).deleted_originals(began)) if prune else 0
    except OSError as error:
        raise _refused(error) from None
    if as_json:
        print_json({"to": to, **_numbers(copied.new, copied.there), "pruned": pruned})
        return
    said = f"; {pruned} that retention had deleted are not in it any more" if prune else ""
    stdout.print(f"database and {counted(copied.new, 'file')} copied to {to}, {copied.there} were there already{said}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="What `db backup` made.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into an empty data_dir; `serve` goes on from there."""
    from triage_agent.intake.archive import copy_spool
    from triage_agent.worklist import backup as databases

    settings = load_settings(config)
    keep_private()
    _require_empty(settings)
    try:
        if databases.is_sqlite(settings.database_url):
            databases.put_back(source / databases.SQLITE_FILE, settings.database_url)
        else:
            _tell_how_to_restore(source, settings)
        if settings.spool.url:
            copied = stores.copied_in(settings, source / "spool")
        else:
            copied = copy_spool(source / "spool", settings.data_dir / "spool")
        _tell_whose_they_are(settings.data_dir)
    except OSError as error:
        raise _refused(error) from None
    if as_json:
        print_json(_numbers(copied.new, copied.there))
    else:
        stdout.print(f"{counted(copied.new, 'file')} back; `triage-agent check`, then `triage-agent serve`")


def _tell_how_to_restore(source: Path, settings: Settings) -> None:
    """What puts a dump back is done by the database's own people.

    Raises:
        TriageError: there is no dump, or one that cannot be read.
    """
    from triage_agent.worklist.dumps import POSTGRES_FILE, require_readable, restore_steps

    dump = source / POSTGRES_FILE
    if not dump.is_file():
        missing = f"there is no {dump}"
        raise TriageError(missing, remedy="name the folder that `db backup` made of a site with Postgres")
    if remark := require_readable(dump):
        tell(remark)
    tell("the database comes back by these, in this order, on its server (createdb and psql as its superuser):")
    for step in restore_steps(settings.database_url, dump):
        tell(f"  {step}")


def _tell_whose_they_are(data_dir: Path) -> None:
    """Who restores as root leaves files that the agent's own user cannot write."""
    if os.geteuid() == 0 and (owner := data_dir.stat().st_uid) != 0:
        tell(f"what was restored is root's: chown --recursive --no-dereference {owner} {data_dir}")


def _require_dump(dump: Path, settings: Settings) -> None:
    """A backup of Postgres is made by its own program; an old one is told of: a night's job may have left it out.

    Raises:
        TriageError: there is none, or one that cannot be read: pg_dump failed.
    """
    from triage_agent.worklist.dumps import dump_command, require_readable

    remedy = f"first `{dump_command(settings.database_url, dump)}`, then this again"
    if not dump.is_file():
        raise TriageError("the database is not in it yet", remedy=remedy)
    if remark := require_readable(dump):
        tell(remark)
    made = datetime.fromtimestamp(dump.stat().st_mtime, UTC)
    if datetime.now(UTC) - made > _FRESH:
        tell(f"the database in it is of {made:%Y-%m-%d %H:%M} UTC; for what was decided since: {remedy}")


def _numbers(new: int, there: int) -> dict[str, int]:
    return {"copied": new, "there": there}


def _require_empty(settings: Settings) -> None:
    from triage_agent.worklist import migrate

    if settings.spool.url:
        full = not stores.is_empty(settings)
    else:
        full = any((settings.data_dir / "spool" / "incoming").glob("*/*/*"))
    if full or (settings.database_url.startswith("sqlite") and migrate.current(settings.database_url)):
        raise ConfigurationError(
            f"{settings.spool.url or settings.data_dir} is in use: nothing is put over what is there",
            remedy="stop the agent and move the folder away, or set another data_dir",
        )


def _refused(error: OSError) -> TriageError:
    return TriageError(f"{error.filename}: {error.strerror}", remedy="free space, or mend what the disk says")
