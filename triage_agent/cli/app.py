"""Every command, by the module that has it, and how errors end: a line, then 1 (failed) or 2 (usage, configuration)."""

import sys
from typing import Annotated, Any, NoReturn, cast

import typer

from triage_agent import __version__
from triage_agent.cli import (
    auditing,
    conformance,
    database,
    demo,
    explaining,
    feedback,
    fetching,
    learning,
    notices,
    orders,
    policies,
    reading,
    scoring,
    serving,
    shadow,
    user,
    withdrawing,
    worklist,
    zero_shot,
)
from triage_agent.cli.options import stderr
from triage_agent.domain.errors import ConfigurationError, ProblemsError, TriageError
from triage_agent.domain.visible import visible

# The base class of every error of usage, which has no public name in every version of typer.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])

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
    from triage_agent.ops.logging import configure_logging

    configure_logging(level="warning")  # to stderr, whatever the command: stdout is what was asked for


app.command()(demo.demo)
app.command()(serving.serve)
app.command()(serving.check)
app.command("conformance")(conformance.conformance)
app.command()(scoring.triage)
app.command()(explaining.explain)
app.command("worklist")(worklist.worklist)
app.command()(worklist.study)
app.command()(worklist.retry)
app.command()(withdrawing.withdraw)
app.command("orders")(orders.orders)
app.command()(fetching.fetch)
app.command("shadow")(shadow.shadow)
app.command()(reading.reading_queue)
app.command()(scoring.phantom)
app.command()(learning.train)
app.command()(learning.evaluate)
learning.bundle_app.command()(zero_shot.zero_shot)
app.add_typer(learning.bundle_app, name="bundle")
app.add_typer(policies.app, name="policy")
app.add_typer(database.app, name="db")
app.add_typer(user.app, name="user")
app.add_typer(notices.app, name="notify")
app.add_typer(auditing.app, name="audit")
app.add_typer(feedback.app, name="feedback")


def main() -> None:
    """Run a command; errors, those of usage too, are one line on stderr."""
    try:
        code = app(standalone_mode=False)
    except _UsageError as error:
        _end(_usage(error), 2)
    except ProblemsError as error:
        for line in error.lines[:-1]:
            _say(line)
        _end(error.lines[-1], 2, who="")
    except ConfigurationError as error:
        _end(str(error), 2)
    except TriageError as error:
        _end(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str:
    if not error.format_message():  # no argument at all: the help was shown
        return ""
    command = error.ctx.command_path if error.ctx is not None else "triage-agent"
    return f"{error.format_message()} (`{command} --help`)"


def _end(line: str, code: int, who: str = "triage-agent: ") -> NoReturn:
    if line:
        _say(f"{who}{line}")
    sys.exit(code)


def _say(line: str) -> None:
    stderr.print(visible(line), style="red", markup=False, highlight=False, soft_wrap=True)
