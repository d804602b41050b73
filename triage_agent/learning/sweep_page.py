"""What a sweep found, as a table and as the paper's figure 3: macro-F1 and AUROC against unfreezing depth."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RC = {"svg.hashsalt": "triage-agent", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
SIZE = (7.2, 4.0)
LINES = (("auroc", "AUROC", "#1f4e79", "o", -0.06), ("macro_f1", "macro-F1", "#b3541e", "s", 0.06))
COLUMNS = (
    "run", "encoder", "parameters", "learnt here", "epochs", "minutes (of a processor)", "held-back AUROC",
    "AUROC", "macro-F1", "accuracy", "sensitivity", "specificity",
)  # fmt: skip
MEASURED = ("auroc", "macro_f1", "accuracy", "sensitivity", "specificity")


def table(report: Mapping[str, Any]) -> str:
    """Markdown: one row a run, figures of studies of `valid` with 95 % intervals, the best run named below."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|" + "---:|" * (len(COLUMNS) - 2)]
    for row in report["runs"]:
        cells = [
            label(row), row["encoder"], f"{row['parameters']:,}", f"{row['learned']:,}", str(row["epochs"]),
            f"{row['minutes']:.1f} ({row['processor_minutes']:.1f})", f"{row['held_back_auroc']:.3f}",
        ]  # fmt: skip
        cells += [_cell(row["valid"]["overall"][name]) for name in MEASURED]
        lines.append(f"| {' | '.join(cells)} |")
    best = next(row for row in report["runs"] if row["name"] == report["best"])
    lines += ["", f"Best by {report['best_by']}: {label(best)} ({best['held_back_auroc']:.3f})."]
    return "\n".join(lines) + "\n"


def label(row: Mapping[str, Any]) -> str:
    """A run's name for a reader."""
    depth = row["depth"]
    if depth is None:
        return str(row["name"])
    return {0: "head only", "all": "all unfrozen"}.get(depth, f"last {depth} unfrozen")


def figure(report: Mapping[str, Any]) -> str:
    """SVG; the same report gives the same bytes."""
    swept = [row for row in report["runs"] if row["depth"] is not None]
    others = [row for row in report["runs"] if row["depth"] is None]
    with mpl.rc_context(RC):
        drawing = Figure(figsize=SIZE, layout="constrained")
        axes = drawing.subplots()
        for metric, name, colour, mark, shift in LINES:
            style = {"color": colour, "marker": mark, "linestyle": "-", "label": name}
            _draw(axes, swept, 0, shift, metric, style)
            named = {"label": "_nolegend_"} if swept else {}
            _draw(axes, others, len(swept), shift, metric, style | {"linestyle": "none"} | named)
        if swept and others:
            axes.axvline(len(swept) - 0.5, color="0.6", linewidth=1, linestyle="--")
        names = [{0: "0\n(head only)"}.get(row["depth"], str(row["depth"])) for row in swept]
        axes.set_xticks(range(len(swept) + len(others)), names + [str(row["name"]) for row in others])
        axes.set(xlabel="blocks unfrozen, and baselines" if others else "blocks unfrozen", ylabel="on studies of valid")
        axes.legend(loc="best")
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _draw(
    axes: Any, rows: Sequence[Mapping[str, Any]], first: int, shift: float, metric: str, style: dict[str, Any]
) -> None:
    """Values with their intervals, from the place `first` on; what has no value leaves a gap."""
    points = [
        (first + place + shift, estimate["value"], estimate["low"], estimate["high"])
        for place, row in enumerate(rows)
        if (estimate := row["valid"]["overall"][metric])["value"] is not None
    ]
    if not points:
        return
    below = [0.0 if low is None else value - low for _, value, low, _ in points]
    above = [0.0 if high is None else high - value for _, value, _, high in points]
    axes.errorbar([one[0] for one in points], [one[1] for one in points], [below, above], capsize=3, **style)


def _cell(estimate: Mapping[str, float | None]) -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
