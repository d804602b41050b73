"""Every command, by the module that has it, and how errors end: a line, then 1 (failed) or 2 (usage, configuration)."""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn, cast

import typer

from triage_agent import __version__
from triage_agent.cli.options import stderr
from triage_agent.domain.errors import ConfigurationError, ProblemsError, TriageError
from triage_agent.domain.visible import visible

# The base class of every error of usage, which has no public name in every version of typer.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])

# In the order of the help: the module that has each, and its name there; a typer application is a group.
_COMMANDS = {
    "demo": "demo:demo",
    "serve": "serving:serve",
    "check": "serving:check",
    "conformance": "conformance:conformance",
    "triage": "scoring:triage",
    "explain": "explaining:explain",
    "worklist": "worklist:worklist",
    "study": "worklist:study",
    "retry": "worklist:retry",
    "withdraw": "withdrawing:withdraw",
    "orders": "orders:orders",
    "fetch": "fetching:fetch",
    "shadow": "shadow:shadow",
    "reading-queue": "reading:reading_queue",
    "phantom": "scoring:phantom",
    "train": "learning:train",
    "evaluate": "learning:evaluate",
    "bundle": "learning:bundle_app",
    "policy": "policies:app",
    "db": "database:app",
    "user": "user:app",
    "notify": "notices:app",
    "audit": "auditing:app",
    "feedback": "feedback:app",
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"triage-agent {__version__}")
        raise typer.Exit


def _root(
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A PACS-integrated DICOM triage agent for musculoskeletal radiographs."""
    from triage_agent.ops.logging import configure_logging

    configure_logging(level="warning")  # to stderr, whatever the command: stdout is what was asked for


def application(wanted: str = "") -> typer.Typer:
    """The application with the command or group of that name; with every one where there is none of it.

    What somebody waits for is importing: a command's own module is enough to run it.
    """
    app = typer.Typer(
        name="triage-agent",
        help="A PACS-integrated DICOM triage agent for musculoskeletal radiographs.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_root)
    for name in [wanted] if wanted in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(importlib.import_module(f"triage_agent.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def main() -> None:
    """Run a command; errors, those of usage too, are one line on stderr."""
    try:
        code = application(_asked_for(sys.argv[1:]))(standalone_mode=False)
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
    except PermissionError as error:
        _end(f"{error.filename or error.strerror}: this user may not; name another place, or be another user", 1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _asked_for(words: Sequence[str]) -> str:
    """The first word that is no option: what stands before it takes no values."""
    return next((word for word in words if not word.startswith("-")), "")


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
