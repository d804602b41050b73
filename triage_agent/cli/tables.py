"""The worklist and a study's page as tables that fit the screen: what identifies and ranks a study is never cut."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap

from rich import box
from rich.console import Console, ConsoleOptions, Group
from rich.table import Table
from rich.text import Text

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.decision import DeliveryRecord, ShadowResult
from triage_agent.domain.ports import StudyDetail
from triage_agent.domain.study import Assessment, StoredInstance, WorklistItem
from triage_agent.domain.visible import visible
from triage_agent.domain.vocabulary import DeliveryState, Priority

_PRIORITY_STYLE = {Priority.STAT: "bold white on red", Priority.URGENT: "bold black on yellow", Priority.ROUTINE: ""}
_PRIORITY_SHAPE = {Priority.STAT: "▲▲", Priority.URGENT: "▲", Priority.ROUTINE: "·"}

_WIDE = 110  # columns of screen from which a table has room for every column and for its lines
_RIGHT = frozenset({"Prob.", "Images", "Age"})
# Widths of the columns that give way, (least, most): in this order they take what the others leave.
_ELASTIC = {"Region": (8, 10), "Patient": (8, 20), "Status": (len("out of scope:"), 1000)}
_LONGEST_ACCESSION = 16  # DICOM's SH; a longer one goes on in a second line


def shown(said: str, style: str = "") -> Text:
    """What a terminal shows and never obeys: no markup, no control characters, no line of its own."""
    return Text(visible(said), style=style)


@dataclass(frozen=True, slots=True)
class WorklistTable:
    """The list as a person reads it: word and shape beside the colour, never colour alone.

    Attributes:
        status_lines: how many a status with its reason may take; `study` and `--json` have the whole reason.
    """

    items: Sequence[WorklistItem]
    now: datetime
    status_lines: int = 2

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The table for this width."""
        yield self._table(options.max_width)

    def _table(self, width: int) -> Table:
        rows = [_cells(item, self.now) for item in self.items]
        if width < _WIDE:
            table = Table(expand=True, header_style="bold", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
            rows = [{name: cell for name, cell in row.items() if name != "Images"} for row in rows]
            names = [name for name in _NAMES if name != "Images"]
            room = width - (len(names) - 1)
        else:
            table = Table(expand=True, header_style="bold")
            names = list(_NAMES)
            room = width - (3 * len(names) + 1)
        widths = _widths(names, rows, room)
        rows = [row | {"Status": _shortened(row["Status"], widths["Status"], self.status_lines)} for row in rows]
        for name in names:
            right = name in _RIGHT
            table.add_column(name, justify="right" if right else "left", width=widths[name], overflow="fold")
        for row in rows:
            table.add_row(*row.values())
        return table


def worklist_page(items: Sequence[WorklistItem], now: datetime) -> Group:
    """The list; then, of studies without an accession number, what else `study` and `retry` take."""
    nameless = [
        shown(f"  {item.study_instance_uid}  {item.patient_name or ''}".rstrip())
        for item in items
        if not item.accession_number
    ]
    title = [shown("Without an accession number, by Study Instance UID:")] if nameless else []
    return Group(WorklistTable(items, now), *title, *nameless)


def _widths(names: Sequence[str], rows: Sequence[Mapping[str, Text]], room: int) -> dict[str, int]:
    """How wide each column is in `room` cells: the elastic ones share what the others, which are whole, leave."""
    wanted = {name: max([len(name), *(row[name].cell_len for row in rows)]) for name in names}
    wanted["Accession"] = min(wanted["Accession"], _LONGEST_ACCESSION)
    if room < sum(wanted[name] for name in names if name not in _ELASTIC) + sum(
        least for least, _ in _ELASTIC.values()
    ):
        wanted["Finding"] = min(wanted["Finding"], len("uncertain"))  # "not assessed" takes two lines
    widths = wanted | {name: min(wanted[name], least) for name, (least, _) in _ELASTIC.items()}
    spare = room - sum(widths.values())
    for name, (_, most) in _ELASTIC.items():
        more = max(0, min(spare, min(wanted[name], most) - widths[name]))
        widths[name] += more
        spare -= more
    return widths


_NAMES = ("Priority", "Finding", "Prob.", "Region", "Patient", "Accession", "Images", "Age", "Status")


def _cells(item: WorklistItem, now: datetime) -> dict[str, Text]:
    word = f"{_PRIORITY_SHAPE[item.priority]} {item.priority.value.upper()}"
    status = item.status.value.replace("_", " ") + (f": {item.status_reason}" if item.status_reason else "")
    cells = (
        shown(word, style=_PRIORITY_STYLE[item.priority]),
        shown((item.finding or "").replace("_", " ")),
        shown("" if item.probability is None else f"{item.probability:.2f}"),
        shown((item.anatomy or "").removeprefix("XR_").lower()),
        shown(item.patient_name or ""),
        shown(item.accession_number or ""),
        shown(str(item.instances)),
        shown(_age(int((now - item.received_at).total_seconds()))),
        shown(status),
    )
    return dict(zip(_NAMES, cells, strict=True))


def _shortened(status: Text, width: int, most: int) -> Text:
    """A reason that would fill the screen is cut, so that the rows below stay in sight."""
    lines = wrap(status.plain, width)
    if len(lines) <= most:
        return status
    last = lines[most - 1][: width - 1].rstrip()
    return Text("\n".join((*lines[: most - 1], f"{last}…")))


def _age(seconds: int) -> str:
    """Minutes and seconds, from an hour on hours and minutes, from two days on days: never more than some letters."""
    minutes, rest = divmod(max(0, seconds), 60)
    hours, days = minutes // 60, minutes // (60 * 24)
    if not hours:
        return f"{minutes}:{rest:02d}"
    return f"{days}d" if days > 1 else f"{hours}h{minutes % 60:02d}"


def study_page(detail: StudyDetail, now: datetime, trouble: Mapping[str, str | None], trace: str = "") -> Group:
    """One study: its line, reasons, instances, deliveries and audit trail; times are UTC.

    `trouble` is what destinations said last to others' deliveries: why those that nobody has tried yet wait. `trace` is
    the id of its trace; "" where the site has none made.
    """
    return Group(
        WorklistTable([detail.item], now),
        shown(f"Study Instance UID {detail.item.study_instance_uid}"),
        *([shown(f"Trace {trace}")] if trace else []),
        *(shown(f"  - {reason}") for reason in detail.reasons),
        *_originals(detail.instances),
        *([_shadow(detail.shadow)] if detail.shadow else []),
        _instances(detail.instances),
        _deliveries(detail.deliveries, now, trouble),
        _trail(detail.audit),
    )


def _originals(instances: Sequence[StoredInstance]) -> list[Text]:
    """That files are not in the spool any more, and how long they were."""
    gone = [(one.original_deleted_at, one.received_at) for one in instances if one.original_deleted_at]
    if not gone:
        return []
    last = max(deleted for deleted, _ in gone)
    days = max((deleted - came).days for deleted, came in gone)
    return [
        Text(
            f"  Originals of {len(gone)} of {len(instances)} images deleted on {last:%Y-%m-%d}, after {days} days, as "
            "[storage] wants it; this record stays."
        )
    ]


def _shadow(result: ShadowResult) -> Text:
    agrees = "agrees" if result.agrees else "disagrees"
    return shown(f"  Shadow bundle {result.bundle}: {result.finding.value}, {result.probability:.2f}; it {agrees}.")


def _titled(title: str, whole: Mapping[str, bool]) -> Table:
    """A table of a study's page: a column is shown whole, or goes on in a second line; neither is cut."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name, is_whole in whole.items():
        table.add_column(name, no_wrap=is_whole, overflow="fold")
    return table


def _instances(instances: Sequence[StoredInstance]) -> Table:
    """The shadow bundle's probabilities have a column only where there are any."""
    shadowed = any(one.assessment and one.assessment.shadow_probability is not None for one in instances)
    columns = {"Instance": False, "Outcome": True, "Prob.": True, "Shadow": True, "Reason": False}
    table = _titled("Instances", {name: whole for name, whole in columns.items() if shadowed or name != "Shadow"})
    for instance in instances:
        known = instance.assessment
        figures = [known.probability, known.shadow_probability] if known else [None, None]
        table.add_row(
            shown(instance.sop_instance_uid),
            known.outcome.value if known else "not yet",
            *("" if figure is None else f"{figure:.4f}" for figure in figures[: 1 + shadowed]),
            shown(_remark(known)),
        )
    return table


def _remark(known: Assessment | None) -> str:
    """Why it was not scored; else which region it looks like, where the header states another or none."""
    if known is None or known.reason or known.seen_anatomy is None:
        return known.reason if known else ""
    differs = known.anatomy_from_image or known.seen_anatomy != known.anatomy
    return f"looks like {known.seen_anatomy}" if differs else ""


def _deliveries(deliveries: Sequence[DeliveryRecord], now: datetime, trouble: Mapping[str, str | None]) -> Table:
    table = _titled(
        "Deliveries", {"What": True, "To": True, "State": True, "Tries": True, "Says": False, "Trouble": False}
    )
    for row in deliveries:
        table.add_row(
            row.kind.value,
            shown(row.destination),
            row.state.value,
            str(row.attempts),
            shown(row.summary),
            shown(_trouble(row, now, trouble.get(row.destination))),
        )
    return table


def _trouble(row: DeliveryRecord, now: datetime, before: str | None) -> str:
    """What the last attempt met; of what still waits also when it is tried, and what it waits behind."""
    said = [row.last_error] if row.last_error else []
    if row.state is DeliveryState.PENDING and row.next_attempt_at is not None:
        at = row.next_attempt_at
        if not row.attempts and not said and before is not None:
            said.append(f"not tried yet, since one before it failed: {before}")
        clock = at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S")
        said.append(f"next attempt {clock} UTC" if at > now else f"due since {clock} UTC")
    return "; ".join(said)


def _trail(events: Sequence[AuditEvent]) -> Table:
    """Each day is named once, at its first event, so that the seconds have room."""
    table = _titled("Audit trail (UTC)", {"When": True, "What": True, "Who": False, "Detail": False})
    day = None
    for event in events:
        when = event.at.strftime("%H:%M:%S")
        if event.at.date() != day:
            day = event.at.date()
            when = f"{day.isoformat()}\n{when}"
        facts = ", ".join(f"{key}={value}" for key, value in event.detail.items())
        table.add_row(when, event.action.value, shown(event.actor), shown(facts))
    return table
