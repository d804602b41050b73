"""The model card of a zero-shot bundle: what it asks of an image, and what was measured, if anything was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triage_agent.models.spec import Question

if TYPE_CHECKING:
    from pathlib import Path

    from triage_agent.models.bundle import BundleSpec
    from triage_agent.models.spec import TextPrompts

_COLUMNS = ("auroc", "sensitivity", "specificity", "accuracy", "macro_f1", "ece")


def zero_shot_card(spec: BundleSpec, encoder: str, prompts: Path | None, out: Path) -> str:
    """The card, Markdown; `encoder` and `prompts` are what the bundle was made with, `out` where it went."""
    zero_shot = spec.zero_shot
    if zero_shot is None:
        raise ValueError("a trained bundle has another card")
    asked = _question(zero_shot) if isinstance(zero_shot, Question) else _prompts(zero_shot)
    sections = [f"# {spec.name}, version {spec.version}", spec.notice, _what(spec), asked, _thresholds(spec)]
    valid = spec.metrics.get("valid")
    if isinstance(valid, dict):
        sections += [_figures(name, report) for name, report in valid.items() if isinstance(report, dict)]
    sections.append(_repeat(spec, encoder, prompts, out))
    return "\n\n".join(sections) + "\n"


def _what(spec: BundleSpec) -> str:
    how = (
        "A language model is asked a fixed question about the radiograph; the score is how much likelier its next "
        "token is yes than no. No text is generated."
        if isinstance(spec.zero_shot, Question)
        else "The radiograph's embedding is compared with those of sentences about abnormal and about normal ones."
    )
    return (
        "## What it is\n\n"
        f"A zero-shot classifier of musculoskeletal radiographs: nothing of it was trained for this task. {how}\n\n"
        f"- checkpoint: `{_public(spec.encoder.source)}`"
        f"{f' at {spec.encoder.revision}' if spec.encoder.revision else ''}, {spec.encoder.image_size} px\n"
        f"- regions: {', '.join(spec.anatomies)}\n"
        f"- licence of the weights: {spec.licence or 'not stated'}"
    )


def _prompts(prompts: TextPrompts) -> str:
    lines = [
        "## Prompts",
        "",
        (
            f"Logit = {prompts.scale:.4g} x (cosine to the abnormal text - cosine to the normal text). Each text is "
            "the mean of its sentences' embeddings. Those of a region are in `bundle.json`, zero_shot; for an image of "
            "no known region they are:"
        ),
        "",
    ]
    lines += [f"- abnormal: {text}" for text in prompts.default.abnormal]
    lines += [f"- normal: {text}" for text in prompts.default.normal]
    return "\n".join(lines)


def _question(question: Question) -> str:
    return (
        "## Question\n\n"
        f"> {question.default}\n\n"
        "For an image of no known region; those of regions are in `bundle.json`, zero_shot. Tokens that count as yes: "
        f"{_tokens(question.yes)}; as no: {_tokens(question.no)}."
    )


def _tokens(tokens: tuple[str, ...]) -> str:
    return ", ".join(f"`{token}`" for token in tokens)


def _thresholds(spec: BundleSpec) -> str:
    data, judged = spec.training_data.get("calibration"), spec.metrics.get("calibration")
    marks = (
        f"- abnormal {spec.thresholds.abnormal:.4f}: {spec.thresholds.abnormal_rule}\n"
        f"- alert {spec.thresholds.alert:.4f}: {spec.thresholds.alert_rule}"
    )
    if not isinstance(data, dict) or not isinstance(judged, dict):
        return (
            "## Calibration\n\n"
            "None. Probabilities are those of the model as it came, and order images at best; no figure of this bundle "
            f"is known.\n\n{marks}"
        )
    return (
        "## Calibration\n\n"
        f"Platt{_regions(spec)}, a = {spec.calibration.a:.4f}, b = {spec.calibration.b:.4f}, on {data['images']} "
        f"images ({data['abnormal']} abnormal) of {data['studies']} studies and {data['patients']} patients of "
        f"{', '.join(map(str, _list(data['roots'])))}, split {data['split']}; regions "
        f"{', '.join(map(str, _list(data['anatomies'])))}. On these images, which everything was set on, AUROC "
        f"{judged['auroc']:.3f}; at the abnormal threshold sensitivity {judged['sensitivity_at_abnormal']:.3f}, "
        f"specificity {judged['specificity_at_abnormal']:.3f}; at the alert threshold "
        f"{judged['sensitivity_at_alert']:.3f} and {judged['specificity_at_alert']:.3f}.\n\n{marks}{_conformal(spec)}"
    )


def _conformal(spec: BundleSpec) -> str:
    if spec.conformal is None:
        return ""
    return (
        f"\n- a finding is normal or abnormal where conformal prediction allows it at an error rate of "
        f"{spec.conformal.alpha:.0%} on studies like these, else uncertain"
    )


def _regions(spec: BundleSpec) -> str:
    own = ", ".join(sorted(spec.calibration.regions))
    return f" ({own} with lines of their own, in `bundle.json`)" if own else ""


def _figures(name: str, report: dict[str, Any]) -> str:
    lines = [
        f"## Held-out figures: {name}, split valid",
        "",
        f"{report['n']} studies, {report['images']} images. 95 % intervals from a bootstrap over patients.",
        "",
        f"| region | n | {' | '.join(column.replace('_', ' ') for column in _COLUMNS)} |",
        "|---" * (2 + len(_COLUMNS)) + "|",
    ]
    blocks = {"all": report["overall"], **report["anatomies"]}
    lines += [
        f"| {region} | {block['n']} | {' | '.join(_cell(block[column]) for column in _COLUMNS)} |"
        for region, block in blocks.items()
    ]
    return "\n".join(lines)


def _cell(figure: dict[str, float | None]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.3f}" + (
        "" if figure["low"] is None else f" ({figure['low']:.3f} to {figure['high']:.3f})"
    )


def _repeat(spec: BundleSpec, encoder: str, prompts: Path | None, out: Path) -> str:
    command = f"triage-agent bundle zero-shot {out.name} --encoder {_public(encoder)}"
    command += f" --prompts {prompts.name}" if prompts is not None else ""
    data = spec.training_data.get("calibration")
    if isinstance(data, dict):
        command += "".join(f" --data {root}" for root in _list(data["roots"]))
        command += f" --seed {data['seed']}" if data["seed"] else ""
    command += "".join(f" --anatomy {region}" for region in spec.anatomies)
    return f"## To repeat it\n\n```\n{command}\n```"


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _public(source: str) -> str:
    """A source as a card may name it: a hub id as it is, a local folder by its last part."""
    return source.rstrip("/").rsplit("/", 1)[-1] if source.startswith(("/", "~", ".")) else source
