"""`train`, `evaluate`, `bundle`: making models and telling what they are."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.markdown import Markdown
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from triage_agent.cli.figures import extra_tables
from triage_agent.cli.options import ConfigOption, JsonOption, check_config, extra_installed, print_json, stderr, stdout
from triage_agent.cli.zero_shot import zero_shot
from triage_agent.settings import load_settings

if TYPE_CHECKING:
    from triage_agent.learning.options import Depth, TrainOptions

bundle_app = typer.Typer(help="Model bundles: what they are, and whether they are whole.", no_args_is_help=True)

_METRICS = ("auroc", "accuracy", "macro_f1", "sensitivity", "specificity", "kappa", "brier", "ece")
_A_MINUTE = 60.0  # seconds
_ENDLESS = 1000  # columns: a table says how wide it would be only where it has room
_SHORT = ("auroc", "acc.", "F1", "sens.", "spec.", "kappa", "brier", "ece")

BundleArgument = Annotated[str, typer.Argument(help='"embedded" or a bundle\'s folder.')]


@bundle_app.command()
def show(bundle: BundleArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """What a model is: encoder, head, thresholds, training data, measured figures."""
    from triage_agent.models.bundle import load_bundle

    check_config(config)
    loaded = load_bundle(bundle)
    if as_json:
        print_json({"digest": loaded.digest, "folder": str(loaded.folder), **loaded.spec.model_dump(mode="json")})
    else:
        # A file or a pipe gets the card as it is written, whose lines are wrapped already.
        stdout.print(
            Markdown(loaded.model_card) if stdout.is_terminal else Text(loaded.model_card),
            soft_wrap=not stdout.is_terminal,
        )
        stdout.print(Text(f"digest {loaded.digest}"), soft_wrap=True)


@bundle_app.command()
def verify(bundle: BundleArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Whether a bundle's files match their digests; exit 1 and the reasons if not."""
    from triage_agent.models.bundle import verify as problems_of

    check_config(config)
    problems = problems_of(bundle)
    if as_json:
        print_json({"bundle": bundle, "intact": not problems, "problems": problems})
    for problem in problems:
        stderr.print(problem, markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    if not as_json:
        stdout.print("intact")


bundle_app.command()(zero_shot)


def train(
    data: Annotated[
        list[Path],
        typer.Argument(exists=True, file_okay=False, help="MURA-layout folders; thresholds are set on the first."),
    ],
    encoder: Annotated[
        str,
        typer.Option(
            help='"compact", "densenet" or "autoencoder" (fresh weights), "embedded" or a bundle\'s folder, '
            "or a MedGemma, MedSigLIP or SigLIP folder or hub id."
        ),
    ] = "compact",
    unfreeze: Annotated[
        str | None,
        typer.Option(
            metavar="K|all",
            help="Train the last K blocks of the encoder (of each of its towers) too, 0 a head alone; if left out, a "
            "bundle's encoder learns as a whole and a checkpoint's stays as it is.",
        ),
    ] = None,
    lora: Annotated[
        int, typer.Option(min=0, help="Train adapters of this rank in these blocks (all without --unfreeze) instead.")
    ] = 0,
    head: Annotated[
        Literal["mlp", "linear", "attention"] | None, typer.Option(help="The classifier; the recipe's by default.")
    ] = None,
    sweep_unfreeze: Annotated[
        str | None,
        typer.Option(metavar="K,K,...", help="Train each of these depths, and compare: 0,1,2,4,all."),
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(metavar="KIND,...", help="Train and compare these too: densenet,autoencoder."),
    ] = None,
    join: Annotated[
        list[Path] | None,
        typer.Option(exists=True, file_okay=False, help="Join these trained compact bundles; nothing is trained."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The bundle's folder.")] = Path("bundle"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from an interrupted run's checkpoint.")] = False,
    recipe: Annotated[Path | None, typer.Option(exists=True, help="TOML that changes the built-in recipe.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes the split and everything that is drawn.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    name: Annotated[str, typer.Option(help="The bundle's name.")] = "",
    version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    notes: Annotated[Path | None, typer.Option(exists=True, help="Markdown for the model card.")] = None,
    licence: Annotated[str, typer.Option(help="Terms of the weights, where the encoder does not bring its own.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a head, the encoder's last blocks, or the compact encoder; writes a bundle."""
    check_config(config)
    with extra_installed("train"):
        from triage_agent.learning.options import TrainOptions
        from triage_agent.learning.ranks import here
        from triage_agent.learning.train import train as run

        compared = sweep_unfreeze is not None or baselines is not None
        if compared:  # what draws the figure is asked for now, not after hours of training
            import triage_agent.learning.sweep_page  # noqa: F401 - see above

    if compared and lora:
        raise typer.BadParameter("a comparison unfreezes blocks: leave out --lora")
    if compared and unfreeze is not None:
        raise typer.BadParameter("--unfreeze says one depth, --sweep-unfreeze several")
    options = TrainOptions(
        data=tuple(data),
        encoder=encoder,
        unfreeze=None if unfreeze is None else depth_of(unfreeze),
        lora=lora,
        head=head,
        join=tuple(join or ()),
        out=out,
        resume=resume,
        recipe=recipe,
        seed=seed,
        device=device,
        name=name,
        version=version,
        notes=notes,
        licence=licence,
    )
    if compared:
        if here().size > 1:
            raise typer.BadParameter("a comparison of several trainings is for one process")
        depths = tuple(depth_of(one) for one in sweep_unfreeze.split(",")) if sweep_unfreeze else ()
        run_sweep(options, depths, tuple(baselines.split(",")) if baselines else (), as_json=as_json)
        return
    folder = run(options, say)
    if not here().first:
        return
    if as_json:
        print_json({"bundle": folder})
    else:
        stdout.print(f"bundle in {folder}", highlight=False)


def depth_of(text: str) -> "Depth":
    """A depth as it is typed: a number of blocks, or all."""
    if text.strip() == "all":
        return "all"
    if not text.strip().isdecimal():
        raise typer.BadParameter(f"{text!r} is no number of blocks, nor all")
    return int(text)


def say(line: str) -> None:
    """What training has to say while it runs."""
    stderr.print(line, markup=False, highlight=False, soft_wrap=True)


def run_sweep(
    options: "TrainOptions", depths: "tuple[Depth, ...]", baselines: tuple[str, ...], *, as_json: bool
) -> None:
    """Train and compare; the table on stdout, everything in the folder."""
    from triage_agent.learning.sweep import SweepPlan, report_of, sweep
    from triage_agent.learning.sweep_page import table
    from triage_agent.models.registry import starts_fresh

    if unknown := [kind for kind in baselines if not starts_fresh(kind)]:
        raise typer.BadParameter(f"no baseline {', '.join(unknown)}: there are densenet, autoencoder and compact")
    plan = SweepPlan(options, depths, baselines)
    report = report_of(plan, sweep(plan, say))
    if as_json:
        print_json(report)
    else:
        stdout.print(table(report), markup=False, highlight=False, soft_wrap=True)
        stdout.print(f"bundles, sweep.json, sweep.md and sweep.svg in {options.out}", highlight=False)


def evaluate(
    data: Annotated[list[Path], typer.Argument(exists=True, file_okay=False, help="MURA-layout folders.")],
    bundle: Annotated[str, typer.Option(help='"embedded" or a bundle\'s folder.')] = "embedded",
    split: Annotated[str, typer.Option(help="Which split to judge on.")] = "valid",
    out: Annotated[Path | None, typer.Option(help="Write report.json and report.html here.")] = None,
    compare: Annotated[
        str | None, typer.Option(help="Another bundle, scored on the same studies: paired differences.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Corrupt a sample of the images; see what is left.")
    ] = False,
    probes: Annotated[
        bool, typer.Option("--probes", help="Shortcut probes: no border, no marker, background only.")
    ] = False,
    sample: Annotated[int, typer.Option(min=2, help="Studies for --robustness and --probes, at most.")] = 300,
    no_thumbnails: Annotated[
        bool, typer.Option("--no-thumbnails", help="Keep patients' pixels out of the page.")
    ] = False,
    maps: Annotated[
        int, typer.Option(min=0, help="Show in the page where the score of so many images of each class comes from.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle by study, with patient-level bootstrap intervals, per region and overall.

    Where the encoder's weights lie, and how odd an image may be, is taken from the configuration (`model.encoder`,
    `model.outlier_limit`), as it is by `serve`.
    """
    settings = load_settings(config)
    with extra_installed("train"):
        from triage_agent.learning.evaluate import Extras
        from triage_agent.learning.evaluate import evaluate as run

        # What is needed later is asked for now, not after an hour of scoring.
        if out is not None:
            import triage_agent.learning.report
        if robustness or probes:
            import triage_agent.learning.stress  # noqa: F401 - see above

    if split != "valid":
        say(f"WARNING: a bundle that learnt from the patients of {split!r} is flattered by its figures there")
    with progress_bar() as progress:
        task = progress.add_task("scoring", total=None)
        report = run(
            data,
            bundle,
            split=split,
            out=out,
            device=device,
            encoder_source=settings.model.encoder,
            outlier_limit=settings.model.outlier_limit,
            extras=Extras(
                compare=compare,
                robustness=robustness,
                probes=probes,
                sample=sample,
                thumbnails=not no_thumbnails,
                maps=maps,
            ),
            progress=told_of(progress, task),
        ).to_json()
    if as_json:
        print_json(report)
        return
    wide = _figures(report, f"{bundle} on {split}: value (95 % interval)", wide=True)
    if stdout.measure(wide, options=stdout.options.update_width(_ENDLESS)).maximum <= stdout.width:
        stdout.print(wide)
    else:  # what is broken over lines cannot be read
        stdout.print(_figures(report, f"{bundle} on {split} (intervals: --json, or a wider terminal)", wide=False))
    for extra in extra_tables(report):
        stdout.print(extra)


def _figures(report: Mapping[str, Any], title: str, *, wide: bool) -> Table:
    """The figures by region: with their intervals, or values alone that 80 columns have room for."""
    headers = _METRICS if wide else _SHORT
    table = Table("", *headers, title=title, title_justify="left")
    if not wide:
        table.box, table.padding, table.pad_edge = box.SIMPLE, (0, 1, 0, 0), False
    for region, figures in [*report["anatomies"].items(), ("overall", report["overall"])]:
        estimates = (_estimate(figures[metric], wide=wide) for metric in _METRICS)
        table.add_row(f"{region.removeprefix('XR_').lower()} (n {figures['n']})", *estimates)
    return table


def _estimate(figure: Mapping[str, float | None], *, wide: bool) -> str:
    if figure["value"] is None:
        return "-"
    interval = f" ({figure['low']:.3f}-{figure['high']:.3f})" if wide and figure["low"] is not None else ""
    return f"{figure['value']:.3f}{interval}"


def told_of(progress: Progress, task: TaskID) -> Callable[[int, int], None]:
    """Moves the bar; where there is no screen for one, says a line a minute."""
    started = said = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal said
        progress.update(task, completed=done, total=of)
        now = time.monotonic()
        if not stderr.is_terminal and done and now - said >= _A_MINUTE:
            said = now
            say(f"scored {done} of {of}, about {(now - started) * (of - done) / done / 60:.0f} min left")

    return tell


def progress_bar() -> Progress:
    """One bar with time left, on stderr so that stdout stays a document."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=not stderr.is_terminal,
    )
