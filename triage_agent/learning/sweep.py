"""`train --sweep-unfreeze`: the same data, split and seed at several unfreezing depths, and beside them the baselines.

It repeats the comparison of the paper (arXiv 2511.05600, figure 3): macro-F1 and AUROC against how much of the encoder
learns.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch

from triage_agent.domain.errors import BundleError, ConfigurationError
from triage_agent.learning.finish import training_data
from triage_agent.learning.mura import DataError, names_of_roots
from triage_agent.learning.options import ALL, BUNDLE_FILE, judged_on
from triage_agent.learning.starting import starting_encoder
from triage_agent.learning.train import gather, recipe_of, train
from triage_agent.models.bundle import load_bundle
from triage_agent.models.head import build_head
from triage_agent.models.registry import REGISTRY, encoder_from_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from triage_agent.learning.options import Depth, TrainOptions
    from triage_agent.models.spec import BundleSpec, EncoderSpec

JSON_FILE, TABLE_FILE, FIGURE_FILE = "sweep.json", "sweep.md", "sweep.svg"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What to compare.

    Attributes:
        base: data, encoder, recipe, seed and so on; its `out` is the folder that gets a bundle a run.
        depths: how much of the encoder learns.
        baselines: kinds of encoder that start from fresh weights, such as "densenet".
    """

    base: TrainOptions
    depths: tuple[Depth, ...]
    baselines: tuple[str, ...] = ()

    def runs(self) -> list[TrainOptions]:
        """One run a depth, then one a baseline; each has a folder of its own."""
        swept = [self._run(f"unfreeze-{depth}", self.base.encoder, depth) for depth in self.depths]
        return swept + [self._run(kind, kind, None) for kind in self.baselines]

    def _run(self, label: str, encoder: str, depth: Depth | None) -> TrainOptions:
        name = f"{self.base.name or self.base.data[0].name}-{label}"
        return replace(self.base, encoder=encoder, unfreeze=depth, out=self.base.out / label, name=name)


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What one run gave.

    Attributes:
        name: the bundle's folder below the sweep's.
        encoder: its kind.
        depth: how much of the encoder learnt from labels; None for a baseline.
        parameters, learned: numbers in encoder and head, and how many of them this run trained.
        epochs: how many were run, the longest member's.
        minutes: on the clock, of the process that finished it; what an interrupted one had done before is not in it.
        processor_minutes: of the same process: what it cost, also on a machine that was busy with other things.
        held_back_auroc: on the held-back training images that the epoch was chosen on.
        digest: the bundle's.
        valid: figures of the first data set's `valid` split, as `evaluate` gives them.
    """

    name: str
    encoder: str
    depth: Depth | None
    parameters: int
    learned: int
    epochs: int
    minutes: float
    processor_minutes: float
    held_back_auroc: float
    digest: str
    valid: dict[str, Any]


def sweep(plan: SweepPlan, progress: Callable[[str], None]) -> list[SweepRow]:
    """Train what is not done yet, and write the table and the figure after each run; returns the rows.

    Raises:
        DataError: the data cannot be read as it should, or has no `valid` split.
        BundleError: an encoder cannot be had.
        ConfigurationError: the plan, or a recipe, makes no sense.
    """
    runs = plan.runs()
    _check(plan, runs)
    rows = _done_before(plan, runs) if plan.base.resume else {}
    for number, options in enumerate(runs, start=1):
        name = options.out.name
        prefix = f"{name} ({number} of {len(runs)}): "
        if name in rows:
            progress(f"{prefix}done before")
            continue
        begun, used = time.monotonic(), time.process_time()
        train(options, lambda line, prefix=prefix: progress(prefix + line))  # type: ignore[misc]
        spent = (time.monotonic() - begun, time.process_time() - used)
        rows[name] = _row(options, spent, None if name in plan.baselines else options.depth)
        _write(plan, [rows[one.out.name] for one in runs if one.out.name in rows])
    found = [rows[options.out.name] for options in runs]
    _write(plan, found)
    return found


def best_of(rows: list[SweepRow]) -> SweepRow:
    """The row with the highest AUROC on held-back images: `valid` is for measuring, not for choosing."""
    return max(rows, key=lambda row: row.held_back_auroc)


def report_of(plan: SweepPlan, rows: list[SweepRow]) -> dict[str, Any]:
    """The public form: what `sweep.json` and `--json` say."""
    return {
        "data": names_of_roots(plan.base.data),
        "seed": plan.base.seed,
        "best": best_of(rows).name,
        "best_by": "AUROC on the held-back training images",
        "runs": [asdict(row) for row in rows],
    }


def _check(plan: SweepPlan, runs: list[TrainOptions]) -> None:
    """Find out now what would otherwise stop the last run after hours."""
    if plan.base.join or not runs or len({one.out for one in runs}) < len(runs):
        raise ConfigurationError("a sweep needs depths that differ, and joins nothing", remedy="see `train --help`")
    if (plan.base.out / BUNDLE_FILE).exists():
        raise ConfigurationError(f"{plan.base.out} is a bundle", remedy="give a sweep a folder of its own as --out")
    if not (plan.base.data[0] / "valid_image_paths.csv").is_file():
        raise DataError(f"{plan.base.data[0]} has no valid split", remedy="a sweep measures on one")
    for options in runs:
        starting_encoder(options, recipe_of(options))


def _done_before(plan: SweepPlan, runs: list[TrainOptions]) -> dict[str, SweepRow]:
    """Rows of an earlier run of this sweep whose bundles are whole and came of what this run would do."""
    try:
        content = json.loads((plan.base.out / JSON_FILE).read_text(encoding="utf-8"))
        rows = {row["name"]: SweepRow(**row) for row in content["runs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {options.out.name: rows[options.out.name] for options in runs if _holds(options, rows)}


def _holds(options: TrainOptions, rows: dict[str, SweepRow]) -> bool:
    row = rows.get(options.out.name)
    try:
        bundle = load_bundle(options.out)
    except BundleError:
        return False
    recipe = recipe_of(options)
    material = gather(options, recipe)
    planned = training_data(options, recipe, judged_on(material, recipe.calibrate_on))
    same = all(bundle.spec.training_data.get(name) == value for name, value in json.loads(json.dumps(planned)).items())
    return row is not None and row.digest == bundle.digest and same and _starts_alike(options, bundle.spec.encoder)


def _starts_alike(options: TrainOptions, found: EncoderSpec) -> bool:
    """Whether a finished run started from the checkpoint that is asked for now, as far as it names one."""
    if options.fresh or options.start is not None:  # a bundle's digest is among the training data
        return True
    _, asked = encoder_from_source(options.encoder)
    before = found.base or found
    return (before.source, before.revision, before.digest) == (asked.source, asked.revision, asked.digest)


def _row(options: TrainOptions, seconds: tuple[float, float], depth: Depth | None) -> SweepRow:
    bundle = load_bundle(options.out)
    spec = bundle.spec
    metrics, data = cast("dict[str, Any]", spec.metrics), cast("dict[str, Any]", spec.training_data)
    parameters, learned = _count(spec, options)
    return SweepRow(
        name=options.out.name,
        encoder=spec.encoder.kind,
        depth=depth,
        parameters=parameters,
        learned=learned,
        epochs=max(data["epochs"]),
        minutes=round(seconds[0] / 60, 2),
        processor_minutes=round(seconds[1] / 60, 2),
        held_back_auroc=metrics["held_back"]["auroc"],
        digest=bundle.digest,
        valid=metrics["valid"][options.data[0].name],
    )


def _count(spec: BundleSpec, options: TrainOptions) -> tuple[int, int]:
    """Parameters of encoder and head, and how many of them the run trained."""
    with torch.device("meta"):  # nothing is filled in: only shapes are asked for
        encoder, head = REGISTRY[spec.encoder.kind].load()(spec.encoder.config), build_head(spec.head)
    whole, top = (sum(one.numel() for one in module.parameters()) for module in (encoder, head))
    if options.reconstructs or options.depth == ALL:
        return whole + top, whole + top
    last = encoder.levels()[-options.depth :] if options.depth else []
    return whole + top, top + sum(one.numel() for level in last for block in level for one in block.parameters())


def _write(plan: SweepPlan, rows: list[SweepRow]) -> None:
    from triage_agent.learning.sweep_page import figure, table  # noqa: PLC0415 - matplotlib

    report = report_of(plan, rows)
    out = plan.base.out
    _replace(out / JSON_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    _replace(out / TABLE_FILE, table(report))
    _replace(out / FIGURE_FILE, figure(report))


def _replace(path: Path, text: str) -> None:
    """A reader, or a resumed run, never finds half of it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
