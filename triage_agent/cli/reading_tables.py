"""What `reading-queue` answers: two tables that fit 80 columns, or a document."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from triage_agent.capacity.groups import diseases_of, groups_of, mean_over, share_of
from triage_agent.capacity.room import Cell, ReadingRoom
from triage_agent.capacity.theory import Waits
from triage_agent.domain.visible import visible

if TYPE_CHECKING:  # it imports numpy, which the other commands need not wait for
    from triage_agent.capacity.simulation import Comparison, Estimate, Observed, Simulation

_NAMES = {
    "all": "all",
    "stat": "ordered STAT",
    "diseased": "diseased",
    "non_diseased": "not diseased",
    "flagged": "flagged",
    "unflagged": "not flagged",
    "true_positive": "true positive",
    "false_negative": "false negative",
    "false_positive": "false positive",
    "true_negative": "true negative",
}


def page(room: ReadingRoom, waits: Waits, simulation: "Simulation | None", seed: int) -> Group:
    """For people: what was asked, the theory's means, what was simulated."""
    parts: list[RenderableType] = [Text(line) for line in _asked(room)]
    how = "exact" if waits.exact else "an approximation: the simulation is the better answer"
    parts += [Text(f"\nMean wait in minutes, by queueing theory ({how})\n"), _theory(room, waits)]
    if simulation is not None:
        parts += [Text(_what_was_simulated(simulation, seed)), _simulated(room, simulation)]
    return Group(*parts)


def as_json_document(room: ReadingRoom, waits: Waits, simulation: "Simulation | None", seed: int) -> dict[str, Any]:
    """For programs: the same, with all percentiles. Times are minutes."""
    return {
        "unit": "minutes",
        "inputs": {
            "load": room.load,
            "per_hour": 60 * room.per_minute,
            "readers": room.readers,
            "read_minutes": room.mix.read_minutes,
            "spread": room.mix.spread,
            "stat": room.mix.stat,
            "diseases": room.mix.diseases,
            "flags_alike": room.mix.alike,
            "preemptive": room.preemptive,
        },
        "flagged_share": _flagged(room),
        "theory": {
            "exact": waits.exact,
            "groups": {name: _expected(cells, waits) for name, cells in groups_of(room.mix).items()},
            "diseases": {name: _expected(cells, waits) for name, cells in diseases_of(room.mix).items()},
        },
        "simulation": None if simulation is None else _simulation(room, simulation, seed),
    }


def _simulation(room: ReadingRoom, simulation: "Simulation", seed: int) -> dict[str, Any]:
    from triage_agent.capacity.simulation import CONFIDENCE, REPLICATIONS

    groups, diseases = groups_of(room.mix), diseases_of(room.mix)
    return {
        "studies": simulation.studies,
        "replications": REPLICATIONS,
        "seed": seed,
        "confidence": CONFIDENCE,
        "settled": simulation.settled,
        "groups": {name: _compared(simulation.group(cells)) for name, cells in groups.items()},
        "diseases": {name: _compared(simulation.group(cells)) for name, cells in diseases.items()},
    }


def _expected(cells: tuple[Cell, ...], waits: Waits) -> dict[str, float]:
    without, triaged = mean_over(cells, waits.without), mean_over(cells, waits.triaged)
    return {"share": share_of(cells), "without": without, "with": triaged, "saved": without - triaged}


def _compared(seen: "Comparison | None") -> dict[str, Any] | None:
    if seen is None:
        return None
    told = {"without": _observed(seen.without), "with": _observed(seen.triaged), "saved": seen.saved}
    return {"studies": seen.studies, **told}


def _observed(seen: "Observed") -> dict[str, Any]:
    return {"mean": seen.mean, **{f"p{number}": value for number, value in seen.percentiles.items()}}


def _asked(room: ReadingRoom) -> Iterator[str]:
    readers = "1 reader is" if room.readers == 1 else f"{room.readers} readers are"
    yield (
        f"{60 * room.per_minute:.4g} studies come in an hour, each takes {room.mix.mean_read:.4g} minutes on average: "
        f"{readers} busy {room.load:.1%} of the time."
    )
    yield f"The software flags {_flagged(room):.1%} of the studies."
    yield (
        "For a more urgent one a study is put aside, and gone on with later (preemptive)."
        if room.preemptive
        else "A study that was begun is finished, whatever comes (non-preemptive)."
    )


def _flagged(room: ReadingRoom) -> float:
    return sum(cell.share for cell in room.mix.cells if cell.flagged)


def _rows(room: ReadingRoom) -> Iterator[tuple[Text, tuple[Cell, ...]]]:
    """Every group with its name; several diseases stand each below all of them."""
    diseases = diseases_of(room.mix) if len(room.mix.diseases) > 1 else {}
    for group, cells in groups_of(room.mix).items():
        yield Text(_NAMES[group]), cells
        if group == "diseased":
            yield from ((Text(f"  {visible(name)}"), inside) for name, inside in diseases.items())


def _theory(room: ReadingRoom, waits: Waits) -> Table:
    table = _table()
    for name in ("Share", "No triage", "Triage", "Saved"):
        table.add_column(name, justify="right")
    for label, cells in _rows(room):
        told = _expected(cells, waits)
        table.add_row(label, f"{told['share']:.1%}", *(_figure(told[name], 3) for name in ("without", "with", "saved")))
    return table


def _what_was_simulated(simulation: "Simulation", seed: int) -> str:
    from triage_agent.capacity.simulation import REPLICATIONS

    return (
        f"\nWait in minutes, simulated: {simulation.studies} studies in {REPLICATIONS} runs, seed {seed}\n"
        "Mean with its 95 % interval, median and 95th percentile\n"
    )


def _simulated(room: ReadingRoom, simulation: "Simulation") -> Table:
    table = _table()
    for name in ("No triage", "50 %", "95 %", "Triage", "50 %", "95 %", "Saved"):
        table.add_column(name, justify="right")
    for label, cells in _rows(room):
        seen = simulation.group(cells)
        if seen is None:
            table.add_row(label, *["-"] * 7)
        else:
            table.add_row(label, *_cells(seen.without), *_cells(seen.triaged), _interval(seen.saved))
    return table


def _cells(seen: "Observed") -> tuple[str, str, str]:
    return _interval(seen.mean), _figure(seen.percentiles[50], 1), _figure(seen.percentiles[95], 1)


def _interval(estimate: "Estimate") -> str:
    half = "" if estimate.high is None else f" ±{estimate.high - estimate.value:.1f}"
    return f"{_figure(estimate.value, 1)}{half}"


def _figure(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # adding nothing turns "-0.0" into "0.0"


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("Studies", overflow="fold")
    return table
