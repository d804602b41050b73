"""The plots of an evaluation, each from the public document alone, as pictures that stand inside a page.

The same document gives the same bytes.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Document = Mapping[str, Any]

SIZE = (4.6, 4.2)
INK, OTHER, RED = "#1f4e79", "#c46a1b", "#a32020"
RC = {"svg.hashsalt": "triage-agent", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
BINS = 20
ACROSS = 5  # panels in a row
CHANCE = 0.5


def picture(draw: Callable[[Any], None], title: str, size: tuple[float, float] = SIZE) -> str:
    """An inline SVG of one plot; `draw` gets the figure."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(title)}" src="data:image/svg+xml;base64,{encoded}">'


def one_plot(draw: Callable[[Any], None], title: str) -> str:
    """An inline SVG with one pair of axes under a title."""

    def drawn(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        draw(axes)

    return picture(drawn, title)


def truth_of(document: Document) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Labels and probabilities of the studies."""
    labels = np.array([study["label"] for study in document["studies"]], dtype=np.int_)
    return labels, np.array([study["probability"] for study in document["studies"]], dtype=np.float64)


def roc_points(
    labels: NDArray[np.int_], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False positive rates and sensitivities from (0, 0) to (1, 1), one point a distinct probability."""
    hits, misses = _called(labels, probabilities)
    return np.r_[0.0, misses / max(1, misses[-1])], np.r_[0.0, hits / max(1, hits[-1])]


def precision_recall_points(
    labels: NDArray[np.int_], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recalls and precisions, one point a distinct probability from the highest down."""
    hits, misses = _called(labels, probabilities)
    return hits / max(1, hits[-1]), hits / (hits + misses)


def roc(document: Document) -> str:
    """The ROC curve, DeLong's interval in its legend, and the threshold on it."""
    labels, probabilities = truth_of(document)

    def draw(axes: Any) -> None:
        _roc_axes(axes)
        label = f"AUROC {_said(document['overall']['auroc_delong'])} (DeLong)"
        axes.plot(*roc_points(labels, probabilities), color=INK, label=label)
        if 0 < labels.sum() < len(labels):
            called = probabilities >= document["bundle"]["threshold"]
            axes.plot(called[labels == 0].mean(), called[labels == 1].mean(), "o", color=INK, label="threshold")
        _legend(axes, loc="lower right")

    return one_plot(draw, "ROC curve")


def roc_overlay(document: Document) -> str:
    """The ROC curves of both bundles."""
    labels, probabilities = truth_of(document)
    second = document["comparison"]
    theirs = np.array(second["probabilities"], dtype=np.float64)

    def draw(axes: Any) -> None:
        _roc_axes(axes)
        areas = second["overall"]["auroc"]
        for name, values, area, ink in (
            (document["bundle"]["name"], probabilities, areas["first"], INK),
            (second["bundle"]["name"], theirs, areas["second"], OTHER),
        ):
            axes.plot(*roc_points(labels, values), color=ink, label=f"{name} {_number(area)}")
        _legend(axes, loc="lower right", title="AUROC")

    return one_plot(draw, "Both ROC curves")


def precision_recall(document: Document) -> str:
    """Precision against recall, and what calling everything abnormal would give."""
    labels, probabilities = truth_of(document)

    def draw(axes: Any) -> None:
        axes.axhline(float(labels.mean()), color="0.7", linewidth=1, label="all called abnormal")
        if labels.any():
            axes.plot(*precision_recall_points(labels, probabilities), color=INK)
        _legend(axes, loc="lower left")
        axes.set(xlabel="recall (sensitivity)", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return one_plot(draw, "Precision and recall")


def reliability(document: Document) -> str:
    """What was said against what was seen, by bins of probability."""
    bins = document["reliability"]
    used = [one for one in bins if one["n"]]
    total = sum(one["n"] for one in bins)

    def draw(axes: Any) -> None:
        width = bins[0]["high"] - bins[0]["low"]
        middles = [(one["low"] + one["high"]) / 2 for one in bins]
        shares = [one["n"] / total for one in bins]
        axes.bar(middles, shares, width=0.9 * width, color="0.85", label="share of studies")
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        said, seen = [one["said"] for one in used], [one["abnormal"] for one in used]
        axes.plot(said, seen, "o-", color=INK, label="abnormal among them")
        _legend(axes, loc="upper left")
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")

    return one_plot(draw, "Reliability")


def confusion(document: Document) -> str:
    """Right and wrong calls at the threshold; shades are shares of each true class."""
    calls = document["calls"]
    counts = np.array(
        [[calls["true_negative"], calls["false_positive"]], [calls["false_negative"], calls["true_positive"]]]
    )

    def draw(axes: Any) -> None:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            ink = "white" if shares[row, column] > CHANCE else "black"
            text = f"{count}\n{shares[row, column]:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=12)
        axes.set_xticks([0, 1], ["normal", "abnormal"])
        axes.set_yticks([0, 1], ["normal", "abnormal"], rotation=90, va="center")
        axes.set(xlabel="called", ylabel="true")
        axes.grid(visible=False)

    return one_plot(draw, f"Calls at the threshold {document['bundle']['threshold']:.3f}")


def histogram(document: Document) -> str:
    """How the probabilities of either class lie."""
    labels, probabilities = truth_of(document)

    def draw(axes: Any) -> None:
        edges = np.linspace(0, 1, BINS + 1)
        for label, name, ink in ((0, "normal", "0.55"), (1, "abnormal", INK)):
            axes.hist(probabilities[labels == label], bins=edges, alpha=0.6, color=ink, label=name)
        axes.axvline(document["bundle"]["threshold"], color=RED, linewidth=1, label="abnormal from here")
        axes.axvline(document["bundle"]["alert"], color=RED, linewidth=1, linestyle=":", label="alert from here")
        _legend(axes)
        axes.set(xlabel="predicted probability", ylabel="studies", xlim=(0, 1))

    return one_plot(draw, "Scores by class")


def regions(document: Document) -> str:
    """AUROC and macro-F1 of each region with their intervals (the paper's figure 2)."""
    blocks = {**document["anatomies"], "all": document["overall"]}

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.set_title("AUROC and macro-F1 by region")
        for shift, (metric, name, ink) in enumerate((("auroc", "AUROC", INK), ("macro_f1", "macro-F1", OTHER))):
            for place, block in enumerate(blocks.values()):
                _bar(axes, place + (shift - 0.5) * 0.38, block[metric], ink, name if place == 0 else None)
        axes.axhline(CHANCE, color="0.5", linewidth=1, linestyle=":")
        axes.set_xticks(range(len(blocks)), [f"{_region(name)}\nn {block['n']}" for name, block in blocks.items()])
        _legend(axes, loc="lower right")
        axes.set(ylim=(0, 1.02), ylabel="value, 95 % interval")

    return picture(draw, "AUROC and macro-F1 by region", (max(4.6, 1.1 * len(blocks) + 1.5), 4.2))


def robustness(document: Document) -> str:
    """AUROC against severity, a panel a corruption, the clean images' as a line."""
    found = document["robustness"]
    rows = -(-len(found["corruptions"]) // ACROSS)

    def draw(figure: Any) -> None:
        panels = figure.subplots(rows, ACROSS, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(found["corruptions"]) :]:
            axes.set_axis_off()
        for axes, (kind, one) in zip(panels.flat, found["corruptions"].items(), strict=False):
            steps = [cell["severity"] for cell in one["severities"]]
            areas = [cell["auroc"] for cell in one["severities"]]
            axes.axhline(found["clean"]["value"], color="0.4", linewidth=1, linestyle="--")
            axes.axhline(CHANCE, color="0.5", linewidth=1, linestyle=":")
            axes.fill_between(steps, [a["low"] for a in areas], [a["high"] for a in areas], color=INK, alpha=0.2)
            axes.plot(steps, [a["value"] for a in areas], "o-", color=INK, markersize=3)
            axes.set_title(kind.replace("_", " "), fontsize=9)
            axes.set(ylim=(0.3, 1.02), xticks=steps)
        figure.supxlabel("severity", fontsize=9)
        figure.supylabel("AUROC", fontsize=9)

    return picture(draw, "AUROC by corruption and severity", (11.0, 2.1 * rows + 0.4))


def _called(labels: NDArray[np.int_], probabilities: NDArray[np.float64]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Abnormal and normal studies at or above each distinct probability, from the highest down."""
    order = np.argsort(-probabilities, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(probabilities[order])), len(order) - 1]
    return np.cumsum(labels[order] == 1)[ends], np.cumsum(labels[order] == 0)[ends]


def _roc_axes(axes: Any) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _legend(axes: Any, **options: Any) -> None:
    """A legend where there is something to name: one class alone has no curves."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def _bar(axes: Any, place: float, estimate: Mapping[str, float | None], ink: str, label: str | None) -> None:
    if estimate["value"] is None:
        return
    axes.bar(place, estimate["value"], width=0.36, color=ink, alpha=0.8, label=label)
    if estimate["low"] is not None:
        axes.plot([place, place], [estimate["low"], estimate["high"]], color="0.1", linewidth=1.5)


def _region(name: str) -> str:
    return name.removeprefix("XR_").lower()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _said(estimate: Mapping[str, float | None]) -> str:
    if estimate["low"] is None:
        return _number(estimate["value"])
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
