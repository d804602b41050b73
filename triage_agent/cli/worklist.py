"""`worklist`, `study`, `retry`: what people ask of the queue."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from triage_agent.bootstrap import open_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout
from triage_agent.domain.errors import TriageError
from triage_agent.domain.ports import StudyDetail
from triage_agent.domain.study import WorklistItem
from triage_agent.domain.vocabulary import Priority, Status
from triage_agent.settings import load_settings

_PRIORITY_STYLE = {Priority.STAT: "bold white on red", Priority.URGENT: "bold black on yellow", Priority.ROUTINE: ""}
_PRIORITY_SHAPE = {Priority.STAT: "▲▲", Priority.URGENT: "▲", Priority.ROUTINE: "·"}


def worklist(
    config: ConfigOption = None,
    status: Annotated[Status | None, typer.Option(help="Only studies with this status.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Only studies with this priority.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many studies.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """The reprioritised worklist, best first."""
    items = open_worklist(load_settings(config)).items(status=status, priority=priority, limit=limit)
    if as_json:
        print_json(items)
    else:
        stdout.print(worklist_table(items, datetime.now(UTC)))


def worklist_table(items: Sequence[WorklistItem], now: datetime) -> Table:
    """The list as a person reads it: word and shape beside the colour, never colour alone."""
    table = Table(expand=True, header_style="bold", title_justify="left")
    for name, justify in (
        ("Priority", "left"),
        ("Finding", "left"),
        ("Prob.", "right"),
        ("Region", "left"),
        ("Patient", "left"),
        ("Accession", "left"),
        ("Images", "right"),
        ("Age", "right"),
        ("Status", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=name != "Status")  # type: ignore[arg-type]
    for item in items:
        table.add_row(*_cells(item, now))
    return table


def _cells(item: WorklistItem, now: datetime) -> list[Text]:
    word = f"{_PRIORITY_SHAPE[item.priority]} {item.priority.value.upper()}"
    minutes, seconds = divmod(max(0, int((now - item.received_at).total_seconds())), 60)
    status = item.status.value.replace("_", " ") + (f": {item.status_reason}" if item.status_reason else "")
    return [
        Text(word, style=_PRIORITY_STYLE[item.priority]),
        Text((item.finding or "").replace("_", " ")),
        Text("" if item.probability is None else f"{item.probability:.2f}"),
        Text((item.anatomy or "").removeprefix("XR_").lower()),
        Text(item.patient_name or ""),
        Text(item.accession_number or ""),
        Text(str(item.instances)),
        Text(f"{minutes}:{seconds:02d}"),
        Text(status),
    ]


def study(
    uid: Annotated[str, typer.Argument(help="Study Instance UID.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """One study: instances, scores, decision, reasons, deliveries, audit trail."""
    detail = open_worklist(load_settings(config)).study(uid)
    if detail is None:
        raise TriageError(f"no study {uid} on the worklist", remedy="`triage-agent worklist` lists what is there")
    if as_json:
        print_json(detail)
    else:
        stdout.print(_study_page(detail))


def _study_page(detail: StudyDetail) -> Group:
    parts: list[Table | Text] = [worklist_table([detail.item], datetime.now(UTC))]
    parts += [Text(f"  - {reason}") for reason in detail.reasons]
    instances = Table("Instance", "Outcome", "Prob.", "Reason", title="Instances", title_justify="left")
    for instance in detail.instances:
        known = instance.assessment
        instances.add_row(
            Text(instance.sop_instance_uid),
            known.outcome.value if known else "not yet",
            "" if known is None or known.probability is None else f"{known.probability:.4f}",
            Text(known.reason if known else ""),
        )
    deliveries = Table(
        "What", "To", "State", "Attempts", "Says", "Last error", title="Deliveries", title_justify="left"
    )
    for row in detail.deliveries:
        deliveries.add_row(
            row.kind.value,
            row.destination,
            row.state.value,
            str(row.attempts),
            Text(row.summary),
            Text(row.last_error or ""),
        )
    trail = Table("When", "What", "Who", "Detail", title="Audit trail", title_justify="left")
    for event in detail.audit:
        facts = ", ".join(f"{key}={value}" for key, value in event.detail.items())
        trail.add_row(event.at.isoformat(timespec="milliseconds"), event.action.value, Text(event.actor), Text(facts))
    return Group(*parts, instances, deliveries, trail)


def retry(
    uid: Annotated[str | None, typer.Argument(help="Study Instance UID.")] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Every failed delivery and study that needs a human.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put failed deliveries, or a study that needs a human, back to work."""
    if failed == (uid is not None):
        raise typer.BadParameter("name one study, or say --failed")
    queue = open_worklist(load_settings(config))
    now = datetime.now(UTC)
    if uid is not None and queue.study(uid) is None:
        raise TriageError(f"no study {uid} on the worklist", remedy="`triage-agent worklist` lists what is there")
    count = queue.retry_study(uid, "cli", now) if uid is not None else queue.retry_failed("cli", now)
    if as_json:
        print_json({"put_back": count})
    else:
        stdout.print(f"{count} put back to work")
