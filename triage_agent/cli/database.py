"""`db`: the worklist's migrations."""

import typer

from triage_agent.cli.options import ConfigOption, JsonOption, keep_private, print_json, stdout
from triage_agent.settings import load_settings

app = typer.Typer(help="The worklist's database.", no_args_is_help=True)


@app.command()
def upgrade(config: ConfigOption = None) -> None:
    """Bring the database to the current migration; `serve` does so by itself on SQLite."""
    from triage_agent.worklist import migrate

    keep_private()
    migrate.upgrade(load_settings(config).database_url)
    stdout.print("database is current")


@app.command()
def current(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show which migration the database is at."""
    from triage_agent.worklist import migrate

    revision = migrate.current(load_settings(config).database_url)
    if as_json:
        print_json({"revision": revision})
    else:
        stdout.print(revision or "empty: run `triage-agent db upgrade`")
