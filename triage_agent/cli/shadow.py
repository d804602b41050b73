"""`shadow`: how often the shadow bundle agrees with the one that decides."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_agent.builders import read_worklist
from triage_agent.cli.options import ConfigOption, JsonOption, print_json, stdout
from triage_agent.decision.shadow import Agreement, Pair, difference, pairs_of
from triage_agent.settings import load_settings

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 20  # disagreeing studies on a screen; `--json` has all


def shadow(
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only decisions since this day, 0:00 UTC.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """How the shadow bundle compares with the one that decides: agreement, counts, and where they differ."""
    start = _EVER if since is None else since.replace(tzinfo=UTC)
    settings = load_settings(config)
    pairs = pairs_of(read_worklist(settings).comparisons(start))
    if as_json:
        print_json([_as_json(pair) for pair in pairs])
    elif pairs:
        stdout.print(Group(*(part for pair in pairs for part in _page(pair))))
    else:
        named = settings.model.shadow
        why = f"{named} is configured as the shadow" if named else "[model] shadow names the second bundle"
        stdout.print(f"no study was compared yet: {why}", markup=False, highlight=False, soft_wrap=True)


def _as_json(pair: Pair) -> dict[str, object]:
    return {
        "bundle": pair.bundle,
        "shadow": pair.shadow,
        **_figures(pair.overall),
        "anatomies": {anatomy or "unknown": _figures(one) for anatomy, one in pair.anatomies.items()},
        "disagreeing": [
            {
                "study_instance_uid": one.study_instance_uid,
                "revision": one.revision,
                "anatomy": one.anatomy,
                "decided_at": one.decided_at,
                "probability": one.probability,
                "shadow_probability": one.shadow.probability,
                "shadow_finding": one.shadow.finding,
                "difference": difference(one),
            }
            for one in pair.disagreeing
        ],
    }


def _figures(agreement: Agreement) -> dict[str, object]:
    return {
        "studies": agreement.studies,
        "agreement": agreement.share,
        "kappa": agreement.kappa,
        **asdict(agreement),
    }


def _page(pair: Pair) -> Iterator[RenderableType]:
    yield Text(f"{pair.bundle} decides; {pair.shadow} in its shadow", style="bold")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("Region", "Studies", "Agree", "Kappa", "Both abnormal", "Only deciding", "Only shadow", "Both normal"):
        table.add_column(name, justify="left" if name == "Region" else "right")
    for name, one in [("all", pair.overall), *((_region(anatomy), one) for anatomy, one in pair.anatomies.items())]:
        counts = (one.both_abnormal, one.only_deciding, one.only_shadow, one.both_normal)
        table.add_row(name, str(one.studies), _percent(one.share), _decimal(one.kappa), *map(str, counts))
    yield table
    if pair.disagreeing:
        yield _differences(pair)


def _differences(pair: Pair) -> Table:
    left_out = len(pair.disagreeing) - _SHOWN
    more = f" (the first {_SHOWN} of {len(pair.disagreeing)}; all with --json)" if left_out > 0 else ""
    table = Table(title=f"They differ on{more}", title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("Study", "Region", "Prob.", "Shadow"):
        table.add_column(name, overflow="fold", no_wrap=name != "Study")
    for one in pair.disagreeing[:_SHOWN]:
        figures = (f"{one.probability:.2f}", f"{one.shadow.probability:.2f}")
        table.add_row(Text(one.study_instance_uid), _region(one.anatomy or ""), *figures)
    return table


def _region(anatomy: str) -> str:
    return anatomy.removeprefix("XR_").lower() or "unknown"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
