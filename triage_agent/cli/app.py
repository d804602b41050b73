"""Every command, by the module that has it, and how errors end: 1 for failed, 2 for wrong usage or configuration."""

import sys
from typing import Annotated

import typer

from triage_agent import __version__
from triage_agent.cli import database, demo, learning, scoring, serving, worklist
from triage_agent.cli.options import stderr
from triage_agent.domain.errors import ConfigurationError, TriageError

app = typer.Typer(
    name="triage-agent",
    help="A PACS-integrated DICOM triage agent for musculoskeletal radiographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"triage-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A PACS-integrated DICOM triage agent for musculoskeletal radiographs."""


app.command()(demo.demo)
app.command()(serving.serve)
app.command()(serving.check)
app.command()(scoring.triage)
app.command("worklist")(worklist.worklist)
app.command()(worklist.study)
app.command()(worklist.retry)
app.command()(scoring.phantom)
app.command()(learning.train)
app.command()(learning.evaluate)
app.add_typer(learning.bundle_app, name="bundle")
app.add_typer(database.app, name="db")


def main() -> None:
    """Run a command; the agent's own errors are one line on stderr."""
    try:
        app()
    except ConfigurationError as error:
        stderr.print(f"triage-agent: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except TriageError as error:
        stderr.print(f"triage-agent: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
