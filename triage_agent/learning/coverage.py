"""Whether conformal findings keep their promise on studies that nothing was fitted on."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from triage_agent.models.conformal import bands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triage_agent.domain.decision import UncertaintyBand
    from triage_agent.learning.metrics import StudyScore
    from triage_agent.models.bundle import ConformalSpec

SHOWN = (0.05, 0.1, 0.2)  # error rates beside the bundle's own


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a group of studies gives at one error rate; shares are None of a class that the group lacks.

    Attributes:
        n: studies.
        covered: share whose truth is not ruled out; promised is 1 - the error rate.
        covered_normal, covered_abnormal: the same in each class, which is promised too.
        uncertain: share whose finding is left open.
    """

    n: int
    covered: float | None
    covered_normal: float | None
    covered_abnormal: float | None
    uncertain: float | None


def coverage(scores: Sequence[StudyScore], spec: ConformalSpec) -> dict[str, dict[str, Any]]:
    """By error rate ("0.1"): `overall`, and each region's `Coverage` as JSON values."""
    found: dict[str, dict[str, Any]] = {}
    for alpha in sorted({*SHOWN, spec.alpha}):
        at = bands(spec, alpha)
        by_region = {
            region: asdict(_covered([one for one in scores if one.anatomy == region], at))
            for region in sorted({one.anatomy for one in scores})
        }
        found[f"{alpha:g}"] = {"overall": asdict(_covered(scores, at)), "anatomies": by_region}
    return found


def _covered(scores: Sequence[StudyScore], at: Mapping[str, UncertaintyBand]) -> Coverage:
    kept: dict[int, list[bool]] = {0: [], 1: []}
    uncertain = []
    for one in scores:
        band = at.get(one.anatomy, at[""])
        inside = one.probability >= band.abnormal_from if one.label else one.probability <= band.normal_to
        kept[one.label].append(inside)
        uncertain.append(band.holds(one.probability))
    return Coverage(
        n=len(scores),
        covered=_share([*kept[0], *kept[1]]),
        covered_normal=_share(kept[0]),
        covered_abnormal=_share(kept[1]),
        uncertain=_share(uncertain),
    )


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def coverage_section(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The body of the report's section, HTML."""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("error rate", "region", "n", "promised", "covered", "of normal", "of abnormal", "uncertain")
    )
    rows = [
        _row(alpha, region, one)
        for alpha, groups in found.items()
        for region, one in [("all", groups["overall"]), *groups["anatomies"].items()]
    ]
    return (
        "<p>Share of studies whose true finding is not ruled out at an error rate that a "
        "site may choose, and share of studies whose finding is left open for it.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _row(alpha: str, region: str, one: Mapping[str, Any]) -> str:
    names = ("covered", "covered_normal", "covered_abnormal", "uncertain")
    shares = ["&ndash;" if one[name] is None else f"{one[name]:.1%}" for name in names]
    cells = [alpha, html.escape(region), str(one["n"]), f"{1 - float(alpha):.0%}", *shares]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
