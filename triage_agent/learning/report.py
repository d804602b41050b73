"""An evaluation as one self-contained HTML page, made from the public document alone.

The page is a list of sections. A part of the document that is new gets a function in `SECTIONS`, or is handed to
`render` as a `Section`.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triage_agent.learning import plots
from triage_agent.learning.coverage import coverage_section
from triage_agent.learning.metrics import DELONG, METRICS
from triage_agent.learning.outliers import outlier_section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Document = Mapping[str, Any]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1b1b1b }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }}
th, td {{ border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: right; white-space: nowrap }}
th:first-child, td:first-child, td.text {{ text-align: left }} td.text {{ white-space: normal }}
small {{ color: #555 }} .wide {{ overflow-x: auto }} .warning {{ font-weight: 600 }}
.plots {{ display: flex; flex-wrap: wrap; gap: 1rem }} .plots img {{ max-width: 100% }}
figure {{ margin: 0; width: 10rem }} figure img {{ width: 100%; background: #000 }}
</style></head><body>
<h1>{title}</h1>
<p>{subtitle}</p>
{warning}
{sections}
</body></html>
"""
DASH = "&ndash;"
_HEADERS = ("", "n", "abnormal", *METRICS)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: a plain title and its HTML."""

    title: str
    body: str


def render(document: Document, pictures: Sequence[bytes] = (), extra: Iterable[Section] = ()) -> str:
    """The page; the same document and pictures give the same bytes.

    Args:
        document: `EvaluationReport.to_json()`.
        pictures: a JPEG of each of the worst misses, in their order; none where the site keeps no pixels in reports.
        extra: sections to add before the worst misses.
    """
    sections = [section for make in SECTIONS if (section := make(document)) is not None]
    sections += [*extra, _misses(document, pictures)]
    bundle, data = document["bundle"], document["data"]
    subtitle = (
        f"{document['n']} studies, {document['images']} images of {', '.join(data['roots'])} ({data['split']}); bundle "
        f"{bundle['version']}, digest {bundle['digest'][:16]}; abnormal at or above {bundle['threshold']:.3f}"
    )
    return PAGE.format(
        title=html.escape(f"Evaluation of {bundle['name']}"),
        subtitle=html.escape(subtitle),
        warning="".join(f'<p class="warning">{one}</p>' for one in _warnings(bundle, data)),
        sections="\n".join(f"<h2>{html.escape(one.title)}</h2>\n{one.body}" for one in sections),
    )


def _warnings(bundle: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    if not bundle["clinical_use"]:
        yield "This bundle is not for clinical use."
    if data["split"] != "valid":
        yield f"Measured on {html.escape(data['split'])}: a bundle that learnt from these patients is flattered."


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are HTML already."""
    head = "".join(f"<th>{header.replace('_', ' ')}</th>" for header in headers)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cell(estimate: Mapping[str, float | None]) -> str:
    """A figure with its interval below it."""
    if estimate["value"] is None:
        return DASH
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f}<br><small>{estimate['low']:.3f} to {estimate['high']:.3f}</small>"


def note(text: str) -> str:
    """Small print."""
    return f"<p><small>{html.escape(text)}</small></p>"


def _row(name: str, block: Mapping[str, Any]) -> list[str]:
    if "prevalence" not in block:  # too few studies, or one class
        return [html.escape(name), str(block["n"]), *[DASH] * (len(_HEADERS) - 2)]
    return [html.escape(name), str(block["n"]), f"{block['prevalence']:.1%}", *(cell(block[one]) for one in METRICS)]


def _figures(document: Document) -> Section:
    rows = [_row("all", document["overall"])]
    rows += [_row(name, block) for name, block in document["anatomies"].items()]
    said = cell(document["overall"][DELONG]).replace("<br>", ", ")
    return Section(
        "Studies",
        table(_HEADERS, rows)
        + note(
            "A study's probability is the mean of its images'. Intervals are 95 %, from a bootstrap over patients. A "
            "dash means that the data cannot give the figure."
        )
        + f"<p>AUROC with DeLong's interval, which takes studies as independent: {said}.</p>",
    )


def _images(document: Document) -> Section:
    single = document["by_image"]
    rows = [_row("all", single["overall"]), *(_row(name, block) for name, block in single["anatomies"].items())]
    text = "Each image counts for itself and has its study's label, which not every view of an abnormal study earns."
    return Section("Images", table(_HEADERS, rows) + note(text))


def _curves(document: Document) -> Section:
    drawn = (plots.roc, plots.precision_recall, plots.reliability, plots.confusion, plots.histogram, plots.regions)
    return Section("Curves", f'<div class="plots">{"".join(draw(document) for draw in drawn)}</div>')


def _subgroups(document: Document) -> Section | None:
    groups = document["subgroups"]
    if not groups:
        return None
    tables = [
        f"<h3>{html.escape(column.replace('_', ' '))}</h3>"
        + table(_HEADERS, [_row(value, block) for value, block in values.items()])
        for column, values in groups.items()
    ]
    text = "Groups of fewer than 20 studies, or of one class, are named with their number only."
    return Section("Subgroups", "".join(tables) + note(text))


def _comparison(document: Document) -> Section | None:
    if "comparison" not in document:
        return None
    found = document["comparison"]
    other = found["bundle"]
    rows = [
        [html.escape(name), str(block["n"]), *_compared(block["auroc"]), *_compared(block["accuracy"])]
        for name, block in [("all", found["overall"]), *found["anatomies"].items()]
    ]
    headers = ("", "n", "AUROC", "other's", "difference", "p", "accuracy", "other's", "difference", "p")
    intro = (
        f"Against {other['name']} {other['version']}, digest {other['digest'][:16]}, on the same studies, each bundle "
        f"at its own threshold (the other's: {other['threshold']:.3f})."
    )
    text = (
        "Differences are this bundle's figure less the other's; intervals from a bootstrap over patients. p: DeLong's "
        "test of the AUROCs, McNemar's of the calls; both take studies as independent, and none is corrected for the "
        "number of regions."
    )
    body = f"<p>{html.escape(intro)}</p>{table(headers, rows)}{note(text)}"
    return Section("Comparison", f'{body}<div class="plots">{plots.roc_overlay(document)}</div>')


def _compared(figure: Mapping[str, Any]) -> list[str]:
    values = [DASH if figure[name] is None else f"{figure[name]:.3f}" for name in ("first", "second")]
    p = DASH if figure["p"] is None else "&lt; 0.001" if figure["p"] < 0.001 else f"{figure['p']:.3f}"  # noqa: PLR2004
    return [*values, cell(figure["difference"]), p]


def _robustness(document: Document) -> Section | None:
    if "robustness" not in document:
        return None
    found = document["robustness"]
    rows = [
        [
            html.escape(kind.replace("_", " ")),
            *(f"{one['auroc']['value']:.3f}<br><small>{_level(one)}</small>" for one in row["severities"]),
            f"{row['mean']:.3f}",
            f"{row['severities'][-1]['sensitivity']:.3f}",
            f"{row['severities'][-1]['specificity']:.3f}",
        ]
        for kind, row in found["corruptions"].items()
    ]
    clean, headers = found["clean"], ("AUROC at severity", "1", "2", "3", "4", "5", "mean", "sens. at 5", "spec. at 5")
    intro = (
        f"{_sampled(document)} Clean: AUROC {_inline(clean)}, sensitivity {clean['sensitivity']:.3f}, specificity "
        f"{clean['specificity']:.3f}. Mean over all corruptions: {_inline(found['mean'])}, lower by "
        f"{_inline(found['drop'])}."
    )
    units = "; ".join(f"{kind.replace('_', ' ')}: {row['unit']}" for kind, row in found["corruptions"].items())
    body = f"<p>{intro}</p>{table(headers, rows)}{note(f'Below each AUROC is the strength. {units}.')}"
    return Section("Robustness", f'{body}<div class="plots">{plots.robustness(document)}</div>')


def _level(one: Mapping[str, Any]) -> str:
    return f"{one['level']:g}"


def _probes(document: Document) -> Section | None:
    if "probes" not in document:
        return None
    rows = "".join(_probe_row(name.replace("_", " "), probe) for name, probe in document["probes"].items())
    head = "<tr><th>probe</th><th>AUROC</th><th>lost</th><th>verdict</th></tr>"
    text = (
        "Markers and anatomy are found by simple rules on brightness and size, which miss some of them and take other "
        "things for them."
    )
    body = f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    return Section("Shortcut probes", f"<p>{_sampled(document)}</p>{body}{note(text)}")


def _probe_row(name: str, probe: Mapping[str, Any]) -> str:
    verdict = html.escape(probe["verdict"]) + _counted(probe)
    figures = f"<td>{cell(probe['auroc'])}</td><td>{cell(probe['drop'])}</td>"
    return f'<tr><td>{html.escape(name)}</td>{figures}<td class="text">{verdict}</td></tr>'


def _counted(probe: Mapping[str, Any]) -> str:
    if "images_with_marker" in probe:
        return f" <small>A marker was found in {probe['images_with_marker']} of {probe['images']} images.</small>"
    if "masked_by" in probe:
        counts = ", ".join(f"{how.replace('_', ' ')} {count}" for how, count in probe["masked_by"].items())
        return f" <small>Masked by: {counts}.</small>"
    return ""


def _misses(document: Document, pictures: Sequence[bytes]) -> Section:
    left, parts = list(pictures), []
    for kind, missed in document["misses"].items():
        shown = []
        for study in missed:
            picture = f'<img alt="" src="data:image/jpeg;base64,{_base64(left.pop(0))}">' if left else ""
            caption = f"{study['study']}, {study['anatomy']}: {study['probability']:.3f}"
            shown.append(f"<figure>{picture}<figcaption><small>{html.escape(caption)}</small></figcaption></figure>")
        inside = "".join(shown) or "None."
        parts.append(f'<h3>{html.escape(kind.replace("_", " "))}</h3><div class="plots">{inside}</div>')
    return Section("Worst misses", "".join(parts))


def _sampled(document: Document) -> str:
    sample = document["sample"]
    return (
        f"On {sample['studies']} studies ({sample['images']} images), {sample['abnormal']} of them abnormal, drawn "
        f"with seed {sample['seed']}."
    )


def _inline(estimate: Mapping[str, float | None]) -> str:
    return cell(estimate).replace("<br><small>", " (").replace("</small>", ")")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _conformal(document: Document) -> Section | None:
    found = document.get("conformal")
    return Section("Uncertain findings", coverage_section(found)) if found else None


def _outliers(document: Document) -> Section | None:
    found = document.get("outliers")
    return Section("Images unlike the training images", outlier_section(found)) if found else None


SECTIONS: tuple[Callable[[Document], Section | None], ...] = (
    _figures,
    _images,
    _curves,
    _conformal,
    _outliers,
    _comparison,
    _subgroups,
    _robustness,
    _probes,
)
