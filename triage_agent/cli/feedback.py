"""`feedback`: what readers said of results, as a labelled set."""

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from triage_agent.bootstrap import open_worklist, utc_now
from triage_agent.cli.options import ConfigOption, JsonOption, actor, counted, keep_private, print_json, stdout, tell
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.settings import load_settings
from triage_agent.spooling import opened

app = typer.Typer(no_args_is_help=True, help="What readers said of results.")

_MOST = 200_000
_SHORTEST_SECRET = 32  # bytes
_DAY = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
SinceOption = Annotated[datetime | None, typer.Option(formats=_DAY, help="Only what was said then or later (UTC).")]
UntilOption = Annotated[datetime | None, typer.Option(formats=_DAY, help="Only what was said before (UTC).")]


@app.command("export")
def export(
    out: Annotated[Path, typer.Argument(help="A folder to make.")],
    since: SinceOption = None,
    until: UntilOption = None,
    images: Annotated[bool, typer.Option("--images", help="The images too, de-identified.")] = False,
    secret_file: Annotated[
        Path | None,
        typer.Option(help="What names are made of: kept here, made where it is not, and the same in later exports."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what readers said as CSV and JSON, without names, dates and notes; the export is audited."""
    from triage_agent.labelled.deidentify import Secret
    from triage_agent.labelled.export import Exported, write_export
    from triage_agent.worklist import SqlFeedback, database_of

    keep_private()
    settings = load_settings(config)
    worklist = open_worklist(settings)
    begin, end = _utc(since), _utc(until)
    studies = SqlFeedback(database_of(worklist)).labelled(begin, end, _MOST)

    def seal(done: Exported) -> None:
        detail = {
            "rows": done.rows,
            "images": done.images,
            "refused": len(done.refused),
            "since": begin.isoformat() if begin else None,
            "until": end.isoformat() if end else None,
        }
        event = AuditEvent(at=utc_now(), action=AuditAction.FEEDBACK_EXPORTED, actor=actor(), detail=detail)
        worklist.record_audit(event)

    spool = opened(settings) if images else None
    done = write_export(out, studies, Secret(_key(secret_file)), spool, seal)
    for refused in done.refused:
        tell(f"{refused.path} was left out: {refused.why}")
    if len(studies) == _MOST:
        tell(f"only the last {_MOST} words of that time: export the rest with --until")
    if as_json:
        print_json({"out": out, "rows": done.rows, "images": done.images, "refused": done.refused})
    else:
        stdout.print(
            f"{counted(done.rows, 'row')} and {counted(done.images, 'image')} in {out}", markup=False, highlight=False
        )


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _key(file: Path | None) -> bytes:
    """A new one, known to nobody afterwards; or the one in a file, which is made where there is none."""
    if file is None:
        return secrets.token_bytes(_SHORTEST_SECRET)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
            made.write(key := secrets.token_bytes(_SHORTEST_SECRET))
    except FileExistsError:
        key = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be made: {error.strerror}", remedy="name another file") from None
    if len(key) < _SHORTEST_SECRET:
        raise ConfigurationError(
            f"{file} is too short for a secret", remedy=f"name a file of {_SHORTEST_SECRET} bytes, or one to be made"
        )
    return key
