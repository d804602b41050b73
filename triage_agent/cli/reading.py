"""`reading-queue`: what reprioritisation does to waiting times in the reading room."""

from typing import Annotated

import typer

from triage_agent.capacity.room import CaseMix, Disease, ReadingRoom
from triage_agent.capacity.theory import expected_waits
from triage_agent.cli.options import ConfigOption, JsonOption, check_config, print_json, stdout, tell
from triage_agent.cli.reading_tables import as_json_document, page

_FORM = "NAME:PREVALENCE:SENSITIVITY:SPECIFICITY[:MINUTES]"
_LOAD, _PREVALENCE, _SENSITIVITY, _SPECIFICITY = 0.8, 0.1, 0.9, 0.9  # where nothing is said


def reading_queue(
    load: Annotated[
        float | None,
        typer.Option(
            "--load", "--traffic", help=f"Share of the time that readers read, below 1; {_LOAD} if not given."
        ),
    ] = None,
    per_hour: Annotated[float | None, typer.Option(help="Studies that come in an hour, instead of --load.")] = None,
    readers: Annotated[int, typer.Option(help="How many read from one list.")] = 1,
    read_minutes: Annotated[float, typer.Option(help="Mean time to read a study.")] = 10.0,
    spread: Annotated[
        float, typer.Option(help="Standard deviation of that time over its mean: 1 is exponential, 0 always the same.")
    ] = 1.0,
    prevalence: Annotated[
        float | None, typer.Option(help=f"Share of diseased studies; {_PREVALENCE} if not given.")
    ] = None,
    sensitivity: Annotated[float | None, typer.Option(help=f"The software's; {_SENSITIVITY} if not given.")] = None,
    specificity: Annotated[float | None, typer.Option(help=f"The software's; {_SPECIFICITY} if not given.")] = None,
    disease: Annotated[
        list[str] | None,
        typer.Option(metavar=_FORM, help="Instead of the three before: each disease, the most urgent first."),
    ] = None,
    flags_alike: Annotated[
        bool, typer.Option("--flags-alike", help="All flags are worth the same; else an earlier disease's goes first.")
    ] = False,
    stat: Annotated[float, typer.Option(help="Share of studies that are ordered STAT: always read first.")] = 0.0,
    preemptive: Annotated[
        bool,
        typer.Option(
            "--preemptive/--non-preemptive", help="Readers put a study aside for a more urgent one, or finish it first."
        ),
    ] = True,
    theory_only: Annotated[bool, typer.Option("--theory-only", help="No simulation.")] = False,
    studies: Annotated[
        int | None, typer.Option(help="How many to simulate; else as many as the load asks for.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same simulation.")] = 1,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Waiting times in the reading room with and without triage: queueing theory, and a simulation.

    Nothing is taken from the configuration or the worklist. docs/capacity.md says what the model leaves out.
    """
    check_config(config)
    diseases = _diseases(disease, (prevalence, sensitivity, specificity), read_minutes)
    mix = CaseMix(diseases, read_minutes, spread=spread, stat=stat, alike=flags_alike)
    room = _room(mix, readers, load, per_hour, preemptive=preemptive)
    simulation = None
    if not theory_only:
        from triage_agent.capacity.simulation import simulate

        simulation = simulate(room, seed=seed, studies=studies)
        if not simulation.settled:
            tell(f"at a load of {room.load:.4g} the simulated runs are too short to be sure of: give more --studies")
    waits = expected_waits(room)
    if as_json:
        print_json(as_json_document(room, waits, simulation, seed))
    else:
        stdout.print(page(room, waits, simulation, seed))


def _room(mix: CaseMix, readers: int, load: float | None, per_hour: float | None, *, preemptive: bool) -> ReadingRoom:
    if load is not None and per_hour is not None:
        raise typer.BadParameter("--load and --per-hour say the same: give one of them")
    if per_hour is not None:
        return ReadingRoom(mix, readers, per_hour / 60, preemptive)
    return ReadingRoom.at_load(mix, readers=readers, load=_LOAD if load is None else load, preemptive=preemptive)


def _diseases(
    lines: list[str] | None, single: tuple[float | None, float | None, float | None], read_minutes: float
) -> tuple[Disease, ...]:
    if not lines:
        given = zip(single, (_PREVALENCE, _SENSITIVITY, _SPECIFICITY), strict=True)
        prevalence, sensitivity, specificity = (usual if one is None else one for one, usual in given)
        return (Disease("disease", prevalence, sensitivity, specificity, read_minutes),)
    if any(one is not None for one in single):
        raise typer.BadParameter("--disease has prevalence, sensitivity and specificity of its own: give it alone")
    return tuple(_disease(line, read_minutes) for line in lines)


def _disease(line: str, read_minutes: float) -> Disease:
    name, *rest = line.split(":")
    try:
        prevalence, sensitivity, specificity, *minutes = (float(one) for one in rest)
        (own_minutes,) = minutes or [read_minutes]
    except ValueError:  # no numbers, or not three or four
        wrong = f"--disease {line[:60]!r}: give {_FORM}, such as fracture:0.15:0.9:0.88"
        raise typer.BadParameter(wrong) from None
    return Disease(name, prevalence, sensitivity, specificity, own_minutes)
