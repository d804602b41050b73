"""`audit`: whether the log is what the agent wrote, and what stands in it."""

import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triage_agent.audit.export import as_csv, as_xml, row_of
from triage_agent.audit.keeping import ANCHORS
from triage_agent.audit.syslog import send
from triage_agent.audit_parts import SYSLOG, audit_log, message_source, own_anchors
from triage_agent.auditing import build_receiver
from triage_agent.builders import open_worklist, read_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, actor, counted, print_json, stdout, tell
from triage_agent.cli.ports import Noteworthy
from triage_agent.domain.audit import AuditEvent, AuditQuestion
from triage_agent.domain.audit_log import LATE
from triage_agent.domain.errors import ConfigurationError, DeliveryError, WorklistUnavailableError
from triage_agent.domain.uids import is_uid
from triage_agent.domain.visible import visible
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.settings import Settings, load_settings
from triage_agent.worklist import migrate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.audit.anchors import Anchor
    from triage_agent.audit.verification import Report

app = typer.Typer(help="The audit log.", no_args_is_help=True)


class Form(StrEnum):
    """How records are exported."""

    CSV = "csv"
    XML = "xml"


_From = Annotated[str, typer.Option("--from", help="From this time on (RFC 3339, or a date: midnight UTC).")]
_To = Annotated[str, typer.Option("--to", help="Up to this time, which is not included.")]
_Anchors = Annotated[Path | None, typer.Option(help="Also compare with this file of anchors.")]
_PublicKey = Annotated[Path | None, typer.Option(help="Who signed them (PEM); with --anchors.")]


@app.command()
def verify(
    config: ConfigOption = None,
    since: _From = "",
    until: _To = "",
    anchors: _Anchors = None,
    public_key: _PublicKey = None,
    as_json: JsonOption = False,
) -> None:
    """Look at every record and its seal; 0 if the log is what the agent wrote, 1 if not, and what is wrong.

    With --from and --to, what was sealed in that time. Anchors show what the database alone cannot: that all of it was
    written anew, or its end cut off with every trace. Without --anchors the agent's own are compared, if they are here.
    """
    from triage_agent.audit.verification import verify as look
    from triage_agent.audit.verified import result_detail

    settings = load_settings(config)
    if (anchors is None) != (public_key is None):
        raise ConfigurationError("--anchors and --public-key belong together", remedy="give both")
    period = period_of(since, until)
    signed = _signed(settings, anchors, public_key)
    log = audit_log(read_worklist(settings))
    report = look(log, datetime.now(UTC), since=period[0], until=period[1], anchors=signed)
    found = result_detail(report, whole=period == (None, None))
    record_use(settings, "verify", found, action=AuditAction.AUDIT_VERIFIED)
    if as_json:
        print_json({"intact": report.intact, **as_table(report)})
    else:
        _print_report(report)
    if not report.intact:
        raise typer.Exit(1)


@app.command()
def export(
    config: ConfigOption = None,
    form: Annotated[Form, typer.Option("--format", help="Rows, or DICOM audit messages in one document.")] = Form.CSV,
    since: _From = "",
    until: _To = "",
    study: Annotated[str, typer.Option(help="Only what is of this study.")] = "",
) -> None:
    """Print records, by their own time, to stdout; that they were exported is recorded first."""
    settings = load_settings(config)
    if study and not is_uid(study):
        raise ConfigurationError("--study is no Study Instance UID", remedy="`triage-agent worklist --json` has them")
    period = period_of(since, until)
    asked = {"from": since, "to": until, "study": study, "format": form.value}
    said: dict[str, object] = {key: value for key, value in asked.items() if value}
    record_use(settings, "export", said, action=AuditAction.AUDIT_EXPORTED, required=True)
    log = audit_log(read_worklist(settings))
    records = log.walk(AuditQuestion(limit=None, since=period[0], until=period[1], study_instance_uid=study))
    lines = as_csv(records) if form is Form.CSV else as_xml(records, log, message_source(settings))
    try:
        for line in lines:
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def tail(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="So many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the last records, oldest first."""
    settings = load_settings(config)
    record_use(settings, "tail", {"limit": limit}, required=True)
    records = audit_log(read_worklist(settings)).latest(limit)
    if as_json:
        print_json([row_of(record) for record in records])
        return
    for record in records:
        row = row_of(record)
        said = " ".join(
            str(row[name]) for name in ("at", "id", "action", "actor", "study_instance_uid", "detail") if row[name]
        )
        _print(visible(said))


def as_table(report: "Report") -> dict[str, object]:
    """A report as `--json` prints it."""
    return {
        "records": report.records,
        "first": report.first,
        "last": report.last,
        "head": report.head,
        "unsealed": report.unsealed,
        "lag_seconds": report.lag_seconds,
        "anchors": report.anchors,
        "wrong": report.wrong,
        "findings": [finding._asdict() for finding in report.findings],
    }


def _signed(settings: Settings, anchors: Path | None, public_key: Path | None) -> "Sequence[Anchor]":
    """The anchors to compare with; of its own the agent may say where they are to somebody who may not read them."""
    from triage_agent.audit.anchors import load_public_key, read_anchors

    if anchors and public_key:
        return read_anchors(anchors, load_public_key(public_key))
    try:
        return own_anchors(settings)
    except (ConfigurationError, OSError) as error:
        why = error.message if isinstance(error, ConfigurationError) else error.strerror
        tell(f"not compared with the agent's own anchors: {why}")
        return ()


def _print_report(report: "Report") -> None:
    for finding in report.findings:
        _print(visible(f"{finding.what}: {finding.says}"), "red")
    if report.wrong > len(report.findings):
        _print(f"... and {report.wrong - len(report.findings)} more", "red")
    compared = f", {counted(report.anchors, 'anchor')} compared" if report.anchors else ""
    waiting = f"{report.unsealed} not sealed yet" if report.unsealed else "all are sealed"
    if report.unsealed:
        waiting += f" (the oldest for {report.lag_seconds:.0f} s)"
    verdict = "intact" if report.intact else f"NOT INTACT: {counted(report.wrong, 'finding')}"
    if report.intact and not report.records:
        verdict = "not looked at, nothing is sealed there"
    seals = f"seals {report.first} to {report.last}"
    _print(f"audit log {verdict}; {counted(report.records, 'record')}, {seals}{compared}; {waiting}")


def _print(line: str, style: str | None = None) -> None:
    stdout.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def period_of(since: str, until: str) -> tuple[datetime | None, datetime | None]:
    """What `--from` and `--to` say.

    Raises:
        ConfigurationError: one of them is no time.
    """
    return _time(since, "--from"), _time(until, "--to")


def _time(given: str, option: str) -> datetime | None:
    if not given:
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        raise ConfigurationError(f"{option} {given!r} is no time", remedy="such as 2026-03-01T08:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def record_use(
    settings: Settings,
    what: str,
    detail: dict[str, object],
    *,
    action: AuditAction = AuditAction.AUDIT_READ,
    required: bool = False,
) -> None:
    """Using the log is an audit event, too (PS3.15 section A.5.3.2).

    Raises:
        WorklistUnavailableError: `required`, and it cannot be written down.
    """
    event = AuditEvent(
        at=datetime.now(UTC),
        action=action,
        actor=actor(),
        detail={"command": what, **detail},
    )
    try:
        open_worklist(settings).record_audit(event)
    except WorklistUnavailableError as error:
        if required:
            raise
        tell(f"that the log was used is not written down: {error.message}")


def look_at_audit(settings: Settings) -> str:
    """What `check` says of the chain and of what is sent.

    Raises:
        Noteworthy: nobody seals, or messages or anchors are not taken.
        ConfigurationError: a certificate cannot be used.
        WorklistUnavailableError: the database is away.
    """
    if migrate.current(settings.database_url) is None:
        return "nothing is recorded yet"
    log, now = audit_log(read_worklist(settings)), datetime.now(UTC)
    head = log.head()
    waiting = log.unsealed(head.floor if head else 0)
    says = f"{head.position if head else 0} records sealed, {waiting.number} not yet"
    if (receiver := build_receiver(settings)) is not None:
        says += f", {log.behind(SYSLOG).number} to be sent to {settings.audit.syslog}"
        try:
            send(receiver, [])
        except DeliveryError as error:
            raise Noteworthy(f"{says}: {error.message}", remedy="see that the receiver runs; nothing is lost") from None
    if settings.audit.anchor_minutes and (failed := log.behind(ANCHORS).last_error):
        raise Noteworthy(f"{says}; not anchored: {failed}", remedy="see that [audit] anchors can be written")
    if waiting.lag(now) > LATE:
        raise Noteworthy(
            f"{says}, the oldest since {waiting.oldest}", remedy="a running `triage-agent serve` seals them"
        )
    return says
