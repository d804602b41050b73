"""`notify`: what people are told, and whether they can be; and what `check` says of it."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from triage_agent.builders import open_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout
from triage_agent.cli.ports import Noteworthy
from triage_agent.cli.tables import shown
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.notice import ChannelRecord, RouteRecord
from triage_agent.sections.mistakes import hint
from triage_agent.sections.notify import EmailSettings
from triage_agent.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="What people are told by e-mail and webhook.")
_COLUMNS = ("Channel", "Waiting", "Sent", "Dead", "Last sent", "What is wrong")


@app.command("test")
def try_channel(
    name: Annotated[str, typer.Argument(help="The name of a channel of notify.email or notify.webhook.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test notice, in quiet hours too; exit 1 if it is not taken."""
    from triage_agent.notification import build_outlets, send_test

    outlets = build_outlets(load_settings(config))
    if name not in outlets:
        raise ConfigurationError(f"no channel is named {name!r}{hint(name, [*outlets])}")
    try:
        send_test(outlets[name], name, datetime.now(UTC))
    finally:
        outlets[name].close()
    if as_json:
        print_json({"channel": name, "taken": True})
    else:
        stdout.print(f"{name} has taken a test notice", markup=False, highlight=False)


@app.command("list")
def list_channels(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """How many notices each channel was sent, what waits for it and why, and which routes fail."""
    from triage_agent.worklist.notices import notices_of

    notices = notices_of(open_worklist(load_settings(config)))
    channels = notices.records() if notices is not None else []
    routes = notices.failing() if notices is not None else []
    if as_json:
        print_json({"channels": channels, "failing_routes": routes})
        return
    stdout.print(channels_page(channels))
    for route in routes:
        stdout.print(_failing(route), style="yellow", markup=False, highlight=False, soft_wrap=True)


def channels_page(channels: Sequence[ChannelRecord]) -> Table:
    """The list as a person reads it."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1), show_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for record in channels:
        last = f"{record.last_sent_at:%Y-%m-%d %H:%M:%S} UTC" if record.last_sent_at else ""
        cells = (record.channel, str(record.waiting), str(record.sent), str(record.dead), last, record.last_error or "")
        table.add_row(*map(shown, cells))
    return table


def _failing(route: RouteRecord) -> str:
    return f"nothing was taken by {route.destination} since {route.failing_since:%Y-%m-%d %H:%M:%S} UTC"


def looks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """What `check` asks of each channel; nothing is sent."""
    for channel in settings.notify.channels:
        yield f"notices to {channel.name}", partial(_look, settings, channel.name)


def _look(settings: Settings, name: str) -> str:
    from triage_agent.notification import build_outlets

    channel = next(one for one in settings.notify.channels if one.name == name)
    outlet = build_outlets(settings)[name]
    try:
        says = f"{outlet.check()}, told of {', '.join(channel.on)}"
    finally:
        outlet.close()
    if "route_failing" in channel.on and not settings.routes:
        raise Noteworthy(f"{says}, and there are no [[routes]]", remedy="add one, or take route_failing out of on")
    told = {*channel.include} & {"study_uid", "accession_number"} or "{" in channel.link
    unencrypted = isinstance(channel, EmailSettings) and channel.security == "none"
    if told and unencrypted:
        raise Noteworthy(
            f"{says}; what tells of studies goes unencrypted",
            remedy='set security = "starttls" or "tls", or take the numbers out of include and link',
        )
    return says
