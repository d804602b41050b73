"""An evaluation as one self-contained HTML page: figures, ROC, reliability, regions."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from triage_agent.learning.metrics import ECE_BINS, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from triage_agent.learning.evaluate import EvaluationReport
    from triage_agent.learning.metrics import Block, Estimate

SIZE = (4.6, 4.2)
INK = "#1f4e79"
RC = {"svg.hashsalt": "triage-agent", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1b1b }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
th, td {{ border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: right; white-space: nowrap }}
th:first-child, td:first-child {{ text-align: left }}
small {{ color: #555 }} .plots {{ display: flex; flex-wrap: wrap; gap: 1rem }} .warning {{ font-weight: 600 }}
</style></head><body>
<h1>{title}</h1>
<p>{subtitle}</p>
{warning}
<div style="overflow-x:auto">{table}</div>
<p><small>Figures are of studies (a study's probability is the mean of its images'); intervals are 95 %, from a
bootstrap over patients. A dash means that the data cannot give the figure.</small></p>
<div class="plots">{plots}</div>
</body></html>
"""


def render(report: EvaluationReport) -> str:
    """The page; the same report gives the same bytes."""
    labels = np.array([score.label for score in report.scores])
    probabilities = np.array([score.probability for score in report.scores])
    threshold = float(report.bundle["threshold"])
    plots = [
        _figure(lambda axes: _draw_roc(axes, labels, probabilities, threshold), "ROC curve"),
        _figure(lambda axes: _draw_reliability(axes, labels, probabilities), "Reliability"),
        _figure(lambda axes: _draw_regions(axes, report.anatomies), "AUROC by region"),
    ]
    subtitle = (
        f"{report.overall.n} studies, {report.images} images of {', '.join(report.data['roots'])} "
        f"({report.data['split']}); bundle {report.bundle['version']}, digest {report.bundle['digest'][:16]}; "
        f"abnormal at or above {threshold:.3f}"
    )
    warning = "" if report.bundle["clinical_use"] else '<p class="warning">This bundle is not for clinical use.</p>'
    return PAGE.format(
        title=html.escape(f"Evaluation of {report.bundle['name']}"),
        subtitle=html.escape(subtitle),
        warning=warning,
        table=_table(report),
        plots="".join(plots),
    )


def _table(report: EvaluationReport) -> str:
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("", "n", "abnormal", *METRICS))
    rows = [_row("all", report.overall)] + [_row(name, figures) for name, figures in report.anatomies.items()]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _row(name: str, figures: Block) -> str:
    cells = [html.escape(name), str(figures.n), f"{figures.prevalence:.1%}"]
    cells += [_cell(figures.estimates[metric]) for metric in METRICS]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return "&ndash;"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f}<br><small>{estimate.low:.3f}&ndash;{estimate.high:.3f}</small>"


def _figure(draw: Callable[[Any], None], title: str) -> str:
    with mpl.rc_context(RC):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title)
        draw(axes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{html.escape(title)}" src="data:image/svg+xml;base64,{encoded}">'


def roc_points(
    labels: NDArray[np.int_], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False positive rates and sensitivities from (0, 0) to (1, 1), one point a distinct probability."""
    order = np.argsort(-probabilities, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(probabilities[order])), len(order) - 1]
    hits, misses = np.cumsum(labels[order] == 1)[ends], np.cumsum(labels[order] == 0)[ends]
    return np.r_[0.0, misses / max(1, misses[-1])], np.r_[0.0, hits / max(1, hits[-1])]


def _draw_roc(axes: Any, labels: NDArray[np.int_], probabilities: NDArray[np.float64], threshold: float) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(*roc_points(labels, probabilities), color=INK)
    if 0 < labels.sum() < len(labels):
        called = probabilities >= threshold
        axes.plot(called[labels == 0].mean(), called[labels == 1].mean(), "o", color=INK, label="threshold")
        axes.legend(loc="lower right")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _draw_reliability(axes: Any, labels: NDArray[np.int_], probabilities: NDArray[np.float64]) -> None:
    bins = np.minimum((probabilities * ECE_BINS).astype(int), ECE_BINS - 1)
    used = [index for index in range(ECE_BINS) if (bins == index).any()]
    said = [float(probabilities[bins == index].mean()) for index in used]
    seen = [float(labels[bins == index].mean()) for index in used]
    share = [float((bins == index).mean()) for index in range(ECE_BINS)]
    axes.bar(
        (np.arange(ECE_BINS) + 0.5) / ECE_BINS, share, width=0.9 / ECE_BINS, color="0.85", label="share of studies"
    )
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(said, seen, "o-", color=INK, label="abnormal among them")
    axes.legend(loc="upper left")
    axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")


def _draw_regions(axes: Any, anatomies: dict[str, Block]) -> None:
    for place, figures in enumerate(anatomies.values()):
        area = figures.estimates["auroc"]
        if area.value is None:
            continue
        axes.barh(place, area.value, color=INK, alpha=0.8)
        if area.low is not None and area.high is not None:
            axes.plot([area.low, area.high], [place, place], color="0.1", linewidth=2)
    axes.set_yticks(range(len(anatomies)), [name.removeprefix("XR_").lower() for name in anatomies])
    axes.invert_yaxis()
    axes.set(xlabel="AUROC", xlim=(0, 1))
