"""What commands share: options, who types them, the two consoles, JSON."""

import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from triage_agent.domain.errors import MissingPackageError
from triage_agent.domain.visible import UNSAFE, visible
from triage_agent.settings import load_settings

stdout = Console()
stderr = Console(stderr=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (TOML); else TRIAGE_AGENT_CONFIG, else the default.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def jsonable(value: Any) -> Any:
    """Dataclasses, enums, times and paths as JSON values; times are RFC 3339 with zone."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime | Path):
        return value.isoformat() if isinstance(value, datetime) else str(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [jsonable(item) for item in value]
    return value


def actor() -> str:
    """What the audit trail calls whoever types a command."""
    return f"command:{getpass.getuser()}"


def check_config(config: Path | None) -> None:
    """For commands that take nothing from the configuration: a wrong one that is named is an error all the same.

    Raises:
        ConfigurationError: what is wrong with it.
    """
    if config is not None:
        load_settings(config)


@contextmanager
def extra_installed(extra: str) -> Iterator[None]:
    """Around the imports of what needs an extra of this distribution: without it, one line that says how to get it.

    Raises:
        MissingPackageError: one of its packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingPackageError(error.name or "a package", extra=extra) from None


def tell(line: str) -> None:
    """A remark on stderr, as it is."""
    stderr.print(visible(line), style="yellow", markup=False, highlight=False, soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Such as "1 row" and "2 rows"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def keep_private() -> None:
    """What this process makes from now on, the world cannot read: it holds patients' data."""
    os.umask(os.umask(0o077) | 0o027)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    document = json.dumps(jsonable(value), ensure_ascii=False, indent=2)
    # JSON leaves them raw, and a terminal would obey them; outside strings there is none but the line ends.
    document = UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", document)
    sys.stdout.write(document + "\n")
