"""`orders`: what is known of orders, and which of them have come."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from triage_agent.builders import open_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout
from triage_agent.cli.tables import shown
from triage_agent.domain.orders import OrderRecord
from triage_agent.settings import load_settings

_COLUMNS = ("Priority", "Status", "Accession", "Patient", "Where", "Procedure", "Due", "Study", "Message")


def orders(
    config: ConfigOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many orders.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Orders as the RIS tells of them, the last changed first."""
    known = open_worklist(load_settings(config)).orders(limit=limit)
    if as_json:
        print_json(known)
    else:
        stdout.print(orders_page(known))


def orders_page(known: Sequence[OrderRecord]) -> Table:
    """The list as a person reads it."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1), show_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for order in known:
        cells = (
            order.priority.value.upper(),
            order.status.value,
            order.accession_number or order.filler_order_number or order.placer_order_number,
            order.patient_name,
            f"{order.patient_class} {order.patient_location}".strip(),
            order.procedure_description or order.procedure_code,
            f"{order.scheduled_date} {order.scheduled_time[:4]}".strip(),
            "here" if order.study_here else "",
            order.control_id,
        )
        table.add_row(*map(shown, cells))
    return table
