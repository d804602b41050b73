"""The model card: every figure in it was measured by the run that writes it; prose about the data is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triage_agent.learning.lineage import unknown_before
from triage_agent.learning.metrics import METRICS
from triage_agent.learning.options import ALL
from triage_agent.models.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.learning.evaluate import EvaluationReport
    from triage_agent.learning.finish import HeldBack
    from triage_agent.learning.fit import Epoch
    from triage_agent.learning.metrics import Block, Estimate
    from triage_agent.learning.options import TrainOptions
    from triage_agent.learning.recipe import Recipe, Stage
    from triage_agent.models.bundle import BundleSpec


def model_card(
    spec: BundleSpec,
    options: TrainOptions,
    recipe: Recipe,
    held_back: HeldBack,
    reports: dict[str, EvaluationReport],
    histories: Sequence[Sequence[Epoch]],
) -> str:
    """The card, Markdown."""
    sections = [
        f"# {spec.name}, version {spec.version}",
        spec.notice or "Not for clinical use until it has been validated where it is used.",
        _what(spec, options),
        _data(spec),
        _joined(spec) if options.join else _recipe_lines(recipe, histories, spec, options),
        _thresholds(spec, held_back),
        _doubt(spec),
        *(_figures(name, report) for name, report in reports.items()),
        options.notes.read_text(encoding="utf-8").strip() if options.notes else "",
        _repeat(options),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(spec: BundleSpec, options: TrainOptions) -> str:
    encoder = spec.encoder
    learned = "frozen" if options.depth == 0 else f"last {options.depth} blocks tuned{_adapted(options)}"
    if options.depth == ALL:
        learned = f"all blocks tuned{_adapted(options)}" if options.lora else "every weight trained here"
    if options.join:
        learned = "every weight trained here"
    if options.reconstructs:
        learned = "trained here to reconstruct, then frozen"
    heads = {"linear": "logistic regression", "mixture": "a logistic regression for each region, and a gate"}
    layers = f"MLP {', '.join(map(str, spec.head.hidden))}" if spec.head.hidden else heads["linear"]
    heads["attention"] = f"attention pooling of tokens ({spec.head.attention_heads} heads), then {layers}"
    head = heads.get(spec.head.kind, layers)
    own = len(spec.calibration.regions)
    return (
        "## What it is\n\n"
        "A classifier of musculoskeletal radiographs: one display image in, a calibrated probability of abnormality "
        "out.\n\n"
        f"- encoder: `{encoder.kind}` ({learned}), {encoder.image_size} px, embedding of {spec.head.input_dim}\n"
        f"- head: {head}; calibration: Platt, a = {spec.calibration.a:.4f}, b = {spec.calibration.b:.4f}"
        f"{f', and a line of their own for {own} regions' if own else ''}\n"
        f"- regions seen in training: {', '.join(spec.anatomies)}\n"
        f"- licence of the weights: {spec.licence or 'not stated'}"
    )


def _adapted(options: TrainOptions) -> str:
    return f" by low-rank adapters of rank {options.lora}, merged" if options.lora else ""


def _data(spec: BundleSpec) -> str:
    data = spec.training_data
    regions = data["regions"]
    lines = ["## Training data", "", "| region | images | abnormal |", "|---|---|---|"]
    if isinstance(regions, dict):
        lines += [
            f"| {name} | {counts['images']} | {counts['abnormal']} |"
            for name, counts in sorted(regions.items())
            if isinstance(counts, dict)
        ]
    whose = (
        "all of them"
        if data["reference_images"] == data["held_back_images"]
        else f"{data['reference_images']} of them: the first data set's, and the others' of regions that it lacks"
    )
    lines += [
        "",
        (
            f"{data['images']} images of {data['patients']} patients; {data['held_back_images']} images, of patients "
            f"apart, were held back to choose the epoch. Calibration and thresholds were set on {whose}."
        ),
    ]
    lines += [_started(one) for one in _list(data["started_from"]) if isinstance(one, dict)]
    if data["started_from"]:
        lines.append(_held_back_before(unknown_before(data)))
    return "\n".join(lines)


def _held_back_before(unknown: Sequence[str]) -> str:
    if not unknown:
        return "\nThe patients that are held back here were held back there, too."
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(unknown))
    return (
        f"\n**Whether {names} learnt from patients that are held back here cannot be known**: the bundle does not say "
        "whom it held back, or was trained on other lists of images. If it did, thresholds, calibration and conformal "
        "quantiles are too hopeful; the figures of a split that it never saw are not."
    )


def _started(bundle: dict[str, object]) -> str:
    before = bundle["training_data"]
    images, roots = (before["images"], _list(before["roots"])) if isinstance(before, dict) else ("?", [])
    return (
        f"\nThe weights began as those of the bundle `{bundle['name']}` (digest {str(bundle['digest'])[:16]}), which "
        f"had been trained on {images} images of {', '.join(map(str, roots))}; its recipe is in `bundle.json`, "
        "training_data.started_from."
    )


def _joined(spec: BundleSpec) -> str:
    names = [f"`{one['name']}`" for one in _list(spec.training_data["started_from"]) if isinstance(one, dict)]
    return (
        "## Training\n\n"
        f"None: the networks of {' and '.join(names)} stand side by side, and the logit is a weighted sum of theirs. "
        "Each region is answered for by those that were trained on it. The weights were fitted on the held-back images "
        "by logistic regression (stacking), pulled towards equal ones."
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _recipe_lines(recipe: Recipe, histories: Sequence[Sequence[Epoch]], spec: BundleSpec, options: TrainOptions) -> str:
    lines = ["## Training", ""]
    learned = spec.training_data.get("reconstruction")
    if isinstance(learned, dict):
        lines.append(
            f"The encoder: {', '.join(map(_stage, recipe.stages))} of reconstruction, squared error of grey values "
            f"(0 to 1) on the held-back images {learned['held_back_error']:.5f}. The head on its code:"
        )
    lines += _schedule(recipe, len(histories), spec, options)
    lines.append("Every number is in `bundle.json`, training_data.")
    for number, history in enumerate((one for one in histories if one), start=1):
        best = max(
            history,
            key=lambda epoch: ((epoch.size, epoch.crop) == (history[-1].size, history[-1].crop), epoch.held_back_auroc),
        )
        network = f"network {number}: " if len(histories) > 1 else ""
        lines.append(
            f"Kept, {network}epoch {best.number} of {len(history)}, AUROC on the held-back images "
            f"{best.held_back_auroc:.3f}."
        )
    return "\n".join(lines)


def _schedule(recipe: Recipe, networks: int, spec: BundleSpec, options: TrainOptions) -> list[str]:
    steps = f"batch {recipe.batch_size}, AdamW,"
    if options.depth == 0:
        rate = f"rate {recipe.learning_rate:g} throughout."
        return [f"{recipe.epochs} epochs at most on embeddings that are computed once; {steps} {rate}"]
    if recipe.stages and REGISTRY[spec.encoder.kind].learns_from != "checkpoint":
        stages = ", ".join(map(_stage, recipe.stages))
        stopped = f" (stopped after {recipe.stop_after})" if recipe.stop_after else ""
        lines = [f"{stages}{stopped}; {steps} peak rate {recipe.learning_rate:g}, cosine;"]
    else:
        lines = [f"{recipe.epochs} epochs at most; {steps} rate {recipe.learning_rate:g}, cosine;"]
    if networks > 1:
        lines.append(f"{networks} networks trained side by side, whose logits are averaged;")
    return [*lines, f"moving average of the weights {recipe.average:g}."]


def _stage(stage: Stage) -> str:
    shown = f"crops of {stage.crop} px from {stage.size} px" if stage.crop else f"{stage.size} px"
    return f"{stage.epochs} epochs at {shown}"


def _thresholds(spec: BundleSpec, held_back: HeldBack) -> str:
    severe = held_back.severe_sensitivity_at_alert
    lines = [
        "## Thresholds",
        "",
        (
            f"Set on {held_back.studies} held-back studies (AUROC there {held_back.auroc:.3f}); their images were also "
            "used to choose the epoch and to calibrate, so the figures of this paragraph flatter."
        ),
        "",
        (
            f"- abnormal {spec.thresholds.abnormal:.4f}: {spec.thresholds.abnormal_rule}; sensitivity "
            f"{held_back.sensitivity_at_abnormal:.3f}, specificity {held_back.specificity_at_abnormal:.3f}"
        ),
        (
            f"- alert {spec.thresholds.alert:.4f}: {spec.thresholds.alert_rule}; sensitivity "
            f"{held_back.sensitivity_at_alert:.3f}, specificity {held_back.specificity_at_alert:.3f}"
        ),
    ]
    if severe is not None:
        lines.append(f"- of images of grade 3 and more, {severe:.3f} are at or above the alert threshold")
    return "\n".join(lines)


def _doubt(spec: BundleSpec) -> str:
    """When the bundle says that it does not know."""
    lines = ["## When it does not know", ""]
    if (conformal := spec.conformal) is not None:
        own = ", ".join(conformal.groups) or "none"
        lines.append(
            f"- uncertain findings: split-conformal by region and class, error rate {conformal.alpha:g} where a site "
            f"chooses none; regions with quantiles of their own: {own}"
        )
    if (outlier := spec.outlier) is not None:
        lines.append(
            f"- outliers: an image whose embedding is farther than {outlier.limit:.2f} from the training images' is "
            f"not scored, and its study needs a human ({outlier.rule}, which is {outlier.held_back:.2f}; an ordinary "
            "image is at about 1)"
        )
    if (region := spec.region) is not None:
        lines.append(
            f"- region head: names {region.told:.1%} of the held-back images with a probability of at least "
            f"{region.sure:g}, {region.accuracy:.1%} of them right"
        )
    return "\n".join(lines)


def _figures(name: str, report: EvaluationReport) -> str:
    lines = [
        f"## Held-out figures: {name}, split {report.data['split']}",
        "",
        (
            f"{report.overall.n} studies, {report.images} images, none of whose patients were trained on. 95 % "
            "intervals from a bootstrap over patients."
        ),
        "",
        f"| region | n | abnormal | {' | '.join(metric.replace('_', ' ') for metric in METRICS)} |",
        "|---" * (3 + len(METRICS)) + "|",
    ]
    blocks: dict[str, Block] = dict(report.anatomies)
    if len(blocks) > 1:
        blocks = {"all": report.overall, **blocks}
    lines += [_row(region, figures) for region, figures in blocks.items()]
    return "\n".join(lines)


def _row(region: str, figures: Block) -> str:
    cells = " | ".join(_cell(figures.estimates[metric]) for metric in METRICS)
    return f"| {region} | {figures.n} | {figures.prevalence:.0%} | {cells} |"


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _repeat(options: TrainOptions) -> str:
    roots = " ".join(root.name for root in options.data)
    start = " ".join(f"--join {folder.name}" for folder in options.join) or f"--encoder {_public(options.encoder)}"
    words = [f"triage-agent train {roots} {start}"]
    if options.unfreeze is not None:
        words.append(f"--unfreeze {options.unfreeze}")
    if options.lora:
        words.append(f"--lora {options.lora}")
    if options.head:
        words.append(f"--head {options.head}")
    if options.recipe is not None:
        words.append(f"--recipe {options.recipe.name}")
    if options.notes is not None:
        words.append(f"--notes {options.notes.name}")
    if options.name:
        words.append(f"--name {options.name}")
    if options.version != "1":
        words.append(f"--version {options.version}")
    if options.licence:
        words.append(f'--licence "{options.licence}"')
    if options.seed:
        words.append(f"--seed {options.seed}")
    words.append(f"--out {options.out.name}")
    measure = "\n".join(f"triage-agent evaluate {root.name} --bundle {options.out.name}" for root in options.data)
    return f"## To repeat it\n\n```\n{' '.join(words)}\n{measure}\n```"


def _public(encoder: str) -> str:
    """An encoder as the card may name it: a hub id as it is, a local folder by its last part."""
    return encoder.rstrip("/").rsplit("/", 1)[-1] if encoder.startswith(("/", "~", ".")) else encoder
