"""Pictures of what benchmarks measured: small SVGs without a background, in inks that light and dark pages both show.

The same figures give the same bytes. A picture whose figures are not there is not drawn.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

GREY, INKS = "#808080", ("#3b82c4", "#d9772b", "#3a9d5d", "#b0559e", "#a08a1f", "#c0504d")
RC = {
    "svg.hashsalt": "triage-agent",
    "svg.fonttype": "none",
    "font.size": 9,
    "font.family": "sans-serif",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.color": GREY,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
}
_PANEL = (3.6, 2.8)  # inches


def save(file, draw, panels=1, across=3):
    """Draw on so many panels, and write them."""
    columns = min(across, panels)
    rows = -(-panels // columns)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows), layout="constrained")
        axes = list(np.ravel(figure.subplots(rows, columns)))
        for spare in axes[panels:]:
            spare.set_axis_off()
        draw(axes[:panels])
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None})


def time_to_flag(bench, file):
    """How many studies were flagged after how long, beside those who wait for a quiet study."""
    lines = {
        "agent, embedded bundle": bench.at("flag", "embedded", "waits_s"),
        "agent, model of 50 ms": bench.at("flag", "fixed model", "waits_s"),
        "Orthanc: stable study": bench.at("flag", "orthanc", "waits_s"),
    }
    if not lines["agent, embedded bundle"]:
        return False
    documented = bench.at("flag", "documented", "mercure", "seconds")
    goal = bench.at("flag", "embedded", "goal_p95_s")

    def draw(axes):
        (axis,) = axes
        for ink, (label, waits) in zip(INKS, lines.items(), strict=False):
            if waits:
                axis.step(waits, np.arange(1, len(waits) + 1) / len(waits) * 100, where="post", color=ink, label=label)
        if documented:
            axis.axvline(documented, color=INKS[3], linestyle=":", label="mercure: quiet series (documented)")
        axis.axvline(goal, color=GREY, linestyle="--", label=f"goal for 95 %: {goal:.2f} s")
        axis.set(xscale="log", xlabel="seconds after the last byte of the first abnormal image", ylabel="% of studies")
        axis.set_ylim(0, 101)
        axis.legend(fontsize=7, loc="center", bbox_to_anchor=(0.62, 0.45))

    with_wide(file, draw)
    return True


def with_wide(file, draw):
    """One panel of twice the width."""
    with mpl.rc_context(RC):
        figure = Figure(figsize=(2 * _PANEL[0], _PANEL[1]), layout="constrained")
        draw([figure.subplots()])
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, format="svg", metadata={"Date": None})


def growth(bench, file, parts):
    """Milliseconds of each kind of work against what there is, a panel a part; both scales are logarithms.

    `parts`: (name in growth.json, what stands below, kinds of work or None for all).
    """
    there = [part for part in parts if bench.at("growth", part[0], "runs")]
    if not there:
        return False

    def draw(axes):
        for axis, (name, label, kinds) in zip(axes, there, strict=True):
            _growth_panel(axis, bench.at("growth", name), kinds)
            axis.set(xscale="log", yscale="log", xlabel=label, ylabel="ms", title=name)

    save(file, draw, panels=len(there), across=2)
    return True


def _growth_panel(axis, part, kinds):
    sizes = [run[part["by"]] for run in part["runs"]]
    chosen = kinds or list(part["exponents"])
    for number, kind in enumerate(one for one in chosen if one in part["exponents"]):
        times = [run["work"][kind]["p50_ms"] for run in part["runs"]]
        style = "-" if number < len(INKS) else "--"
        label = f"{kind} ({part['exponents'][kind]:+.2f})"
        axis.plot(sizes, times, style, marker=".", color=INKS[number % len(INKS)], label=label)
    axis.legend(fontsize=6, title="exponent in brackets", title_fontsize=6)


def day(bench, file):
    """The backlog over a compressed day, with what may wait at most."""
    looks, compress = bench.at("day", "looks"), bench.at("day", "compress")
    if not looks:
        return False
    hours = [at * compress / 3600 for at, _ in looks]

    def draw(axes):
        (axis,) = axes
        axis.fill_between(hours, [waiting for _, waiting in looks], step="post", color=INKS[0], alpha=0.6, linewidth=0)
        axis.axhline(bench.at("day", "goal_s"), color=GREY, linestyle="--", label="goal: at most")
        axis.set(xlabel="hour of the day", ylabel="backlog, seconds of work", xticks=range(0, 25, 3))
        axis.set_xlim(0, 24)
        axis.legend(fontsize=7)

    with_wide(file, draw)
    return True


def ingest(bench, file):
    """Seconds and memory against the size of an image, and against the number of associations."""
    grown = [(name, bench.at("ingest", "growth", name)) for name in ("size", "associations")]
    grown = [(name, rows) for name, rows in grown if rows]
    if not grown:
        return False

    def draw(axes):
        for number, (name, rows) in enumerate(grown):
            sizes = [row["bytes"] / 1e6 if name == "size" else row["associations"] for row in rows]
            _receivers(axes[2 * number], sizes, rows, "seconds", "seconds an image")
            _receivers(axes[2 * number + 1], sizes, rows, "peak_mb", "memory at most, MB")
            for axis in axes[2 * number : 2 * number + 2]:
                axis.set_xlabel("size of an image, MB" if name == "size" else "associations at once")

    save(file, draw, panels=2 * len(grown), across=2)
    return True


def _receivers(axis, sizes, rows, what, label):
    for ink, peer in zip(INKS, rows[0][what], strict=False):
        values = [row[what][peer] for row in rows]
        if what == "seconds":
            values = [one / (row["images"] * row["associations"]) for one, row in zip(values, rows, strict=True)]
        axis.plot(sizes, values, marker=".", color=ink, label=peer)
    axis.set(xscale="log", yscale="log", ylabel=label)
    axis.legend(fontsize=6)


def scale(bench, file):
    """Images a second against how many score, and what so many times the first would be."""
    kinds = {"ray_replicas": "replicas on Ray", "postgres_workers": "workers on Postgres"}
    there = {said: rows for name, said in kinds.items() if (rows := bench.at("scale_out", name))}
    if not there:
        return False

    def draw(axes):
        (axis,) = axes
        for ink, (said, rows) in zip(INKS, there.items(), strict=False):
            counts, speeds = [row["count"] for row in rows], [row["images_a_second"] for row in rows]
            axis.plot(counts, speeds, marker=".", color=ink, label=said)
            axis.plot(counts, [speeds[0] / counts[0] * one for one in counts], ":", color=ink)
        axis.set(xlabel="how many (dotted: linear)", ylabel="images a second", xticks=counts)
        axis.legend(fontsize=7)

    with_wide(file, draw)
    return True
