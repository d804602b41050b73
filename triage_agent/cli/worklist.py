"""`worklist`, `study`, `retry`: what people ask of the queue."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from triage_agent.builders import open_worklist, read_worklist
from triage_agent.cli import remarks
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout, tell
from triage_agent.cli.tables import study_page, worklist_page
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import Worklist
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.ops.journey import trace_id
from triage_agent.settings import load_settings

STUDY = typer.Argument(metavar="STUDY", help="Its Study Instance UID or accession number.")


def worklist(
    config: ConfigOption = None,
    status: Annotated[Status | None, typer.Option(help="Only studies with this status.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Only studies with this priority.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many studies.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """The reprioritised worklist, best first."""
    settings = load_settings(config)
    queue = read_worklist(settings)
    items = queue.items(status=status, priority=priority, limit=limit + 1)
    if len(items) > limit:
        tell(remarks.left_out(limit, queue.counts(), status, priority))
    if as_json:
        print_json(items[:limit])
        return
    stdout.print(worklist_page(items[:limit], datetime.now(UTC)))
    if waiting := queue.counts()["outbox"]["pending"]:
        for line in remarks.trouble(waiting, {route.to: queue.trouble_at(route.to) for route in settings.routes}):
            tell(line)


def study(
    name: Annotated[str, STUDY],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One study: instances, scores, decision, reasons, deliveries, audit trail."""
    settings = load_settings(config)
    queue = read_worklist(settings)
    detail = queue.study(uid_of(queue, name))
    if detail is None:
        raise _unknown(name)
    if as_json:
        print_json(detail)
    else:
        untried = {row.destination for row in detail.deliveries if not row.attempts}
        trace = trace_id(detail.item.study_instance_uid) if settings.telemetry.traces else ""
        trouble = {to: queue.trouble_at(to) for to in untried}
        stdout.print(study_page(detail, datetime.now(UTC), trouble, trace))


def uid_of(queue: Worklist, name: str) -> str:
    """The one study that a person named."""
    uids = queue.studies_called(name)
    if not uids:
        raise _unknown(name)
    if len(uids) > 1:
        raise TriageError(
            f"{len(uids)} studies have the accession number {name}", remedy=f"name one by its UID: {', '.join(uids)}"
        )
    return uids[0]


def _unknown(name: str) -> TriageError:
    return TriageError(
        f"no study {name} on the worklist, neither as Study Instance UID nor as accession number",
        remedy="`triage-agent worklist` shows accession numbers, `triage-agent worklist --json` also the UIDs",
    )


def retry(
    name: Annotated[str | None, STUDY] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Every failed delivery and study that needs a human.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put failed deliveries, or a study that needs a human, back to work."""
    if failed == (name is not None):
        raise typer.BadParameter("name one study, or say --failed")
    settings = load_settings(config)
    queue = open_worklist(settings)
    now = datetime.now(UTC)
    uid = None if name is None else uid_of(queue, name)
    count = queue.retry_failed("cli", now) if uid is None else queue.retry_study(uid, "cli", now)
    if as_json:
        print_json({"put_back": count})
    else:
        stdout.print(f"{count} put back to work")
    if uid is not None and (detail := queue.study(uid)) is not None:
        if not count:
            tell(remarks.why_nothing(detail))
        for line in remarks.unrouted(detail, {route.to for route in settings.routes}):
            tell(line)
