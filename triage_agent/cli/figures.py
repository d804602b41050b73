"""What an evaluation adds to its figures, as small tables for people: comparison, robustness, probes."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_SMALLEST_P = 0.001


def extra_tables(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A table for each part of the document that was asked for; 80 columns hold each."""
    if "outliers" in report:
        yield _outliers(report["outliers"])
    if "comparison" in report:
        yield _comparison(report["comparison"])
    if "robustness" in report:
        yield _robustness(report["robustness"], report["sample"])
    if "probes" in report:
        yield _probes(report["probes"], report["sample"])


def _outliers(found: Mapping[str, Any]) -> Text:
    images, studies = found["overall"]["images"], found["overall"]["studies"]
    return Text(
        f"unlike the training images: {images['refused']} of {images['n']} images ({images['share']:.1%}), in "
        f"{studies['refused']} of {studies['n']} studies ({studies['share']:.1%})"
    )


def _comparison(found: Mapping[str, Any]) -> Table:
    other = found["bundle"]
    title = f"less {other['name']} {other['version']}: difference (95 % interval), p by DeLong and McNemar"
    table = _table(title, "", "AUROC", "p", "accuracy", "p")
    for region, figures in [*found["anatomies"].items(), ("overall", found["overall"])]:
        cells = [cell for metric in ("auroc", "accuracy") for cell in _difference(figures[metric])]
        table.add_row(f"{region.removeprefix('XR_').lower()} (n {figures['n']})", *cells)
    return table


def _difference(figure: Mapping[str, Any]) -> tuple[str, str]:
    difference, p = figure["difference"], figure["p"]
    if difference["value"] is None:
        return "-", "-"
    interval = f" ({difference['low']:+.3f} {difference['high']:+.3f})" if difference["low"] is not None else ""
    shown = "-" if p is None else f"<{_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"
    return f"{difference['value']:+.3f}{interval}", shown


def _robustness(found: Mapping[str, Any], sample: Mapping[str, Any]) -> RenderableType:
    table = _table(f"AUROC on {sample['studies']} corrupted studies, by severity", "", "1", "2", "3", "4", "5", "mean")
    for kind, row in found["corruptions"].items():
        areas = (f"{cell['auroc']['value']:.3f}" for cell in row["severities"])
        table.add_row(kind.replace("_", " "), *areas, f"{row['mean']:.3f}")
    return Group(
        table,
        Text(
            f"clean {_estimate(found['clean'])}, mean {_estimate(found['mean'])}, lower by {_estimate(found['drop'])}"
        ),
    )


def _probes(found: Mapping[str, Any], sample: Mapping[str, Any]) -> Table:
    table = _table(f"shortcut probes on {sample['studies']} studies", "", "AUROC", "verdict")
    for name, probe in found.items():
        table.add_row(name.replace("_", " "), _estimate(probe["auroc"]), probe["verdict"])
    return table


def _table(title: str, *headers: str) -> Table:
    return Table(*headers, title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)


def _estimate(figure: Mapping[str, float | None]) -> str:
    interval = f" ({figure['low']:.3f} to {figure['high']:.3f})" if figure["low"] is not None else ""
    return f"{figure['value']:.3f}{interval}"
