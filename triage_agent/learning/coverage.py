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
        covered: share whose truth is in the prediction set; promised is 1 - the error rate.
        covered_normal, covered_abnormal: the same in each class, which is promised too.
        wrong_normal, wrong_abnormal: share of the normal studies that are called abnormal for sure, and of the
            abnormal ones that are called normal; promised is the error rate at most.
        uncertain: share whose finding is left open.
    """

    n: int
    covered: float | None
    covered_normal: float | None
    covered_abnormal: float | None
    wrong_normal: float | None
    wrong_abnormal: float | None
    uncertain: float | None


def coverage(scores: Sequence[StudyScore], spec: ConformalSpec, threshold: float) -> dict[str, dict[str, Any]]:
    """By error rate ("0.1"): `overall`, and each region's `Coverage` as JSON values; findings as the agent has them."""
    found: dict[str, dict[str, Any]] = {}
    for alpha in sorted({*SHOWN, spec.alpha}):
        at = _At(bands(spec, alpha), bands(spec, alpha, threshold), threshold)
        by_region = {
            region: asdict(_covered([one for one in scores if one.anatomy == region], at))
            for region in sorted({one.anatomy for one in scores})
        }
        found[f"{alpha:g}"] = {"overall": asdict(_covered(scores, at)), "anatomies": by_region}
    return found


@dataclass(frozen=True, slots=True)
class _At:
    """One error rate: the prediction sets' bands, those that findings follow, and the threshold beside them."""

    sets: Mapping[str, UncertaintyBand]
    findings: Mapping[str, UncertaintyBand]
    threshold: float

    def covers(self, one: StudyScore) -> bool:
        band = self.sets.get(one.anatomy, self.sets[""])
        return one.probability >= band.abnormal_from if one.label else one.probability <= band.normal_to

    def leaves_open(self, one: StudyScore) -> bool:
        return self.findings.get(one.anatomy, self.findings[""]).holds(one.probability)

    def is_wrong(self, one: StudyScore) -> bool:
        return not self.leaves_open(one) and (one.probability >= self.threshold) is not bool(one.label)


def _covered(scores: Sequence[StudyScore], at: _At) -> Coverage:
    normal, abnormal = ([one for one in scores if one.label == label] for label in (0, 1))
    return Coverage(
        n=len(scores),
        covered=_share([at.covers(one) for one in scores]),
        covered_normal=_share([at.covers(one) for one in normal]),
        covered_abnormal=_share([at.covers(one) for one in abnormal]),
        wrong_normal=_share([at.is_wrong(one) for one in normal]),
        wrong_abnormal=_share([at.is_wrong(one) for one in abnormal]),
        uncertain=_share([at.leaves_open(one) for one in scores]),
    )


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def coverage_section(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The body of the report's section, HTML."""
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            *("error rate", "region", "n", "promised", "covered", "of normal", "of abnormal"),
            *("normal called abnormal", "abnormal called normal", "uncertain", "kept?"),
        )
    )
    rows = [
        _row(alpha, region, one)
        for alpha, groups in found.items()
        for region, one in [("all", groups["overall"]), *groups["anatomies"].items()]
    ]
    return (
        "<p>Share of studies whose true finding is in the prediction set at an error rate that a site may choose; "
        "share of each class that is called the other for sure; and share whose finding is left open. The rate is "
        "what was asked for: where more of a class than that is called the other, beyond what "
        "chance does in so few studies, the promise is not kept here.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _broken(alpha: float, one: Mapping[str, Any]) -> bool:
    """Whether a class has more wrong calls than the rate explains: two standard errors of so many studies above it."""
    allowed = alpha + 2 * (alpha * (1 - alpha) / max(1, one["n"] // 2)) ** 0.5
    return any(one[name] is not None and one[name] > allowed for name in ("wrong_normal", "wrong_abnormal"))


def _row(alpha: str, region: str, one: Mapping[str, Any]) -> str:
    names = ("covered", "covered_normal", "covered_abnormal", "wrong_normal", "wrong_abnormal", "uncertain")
    shares = ["&ndash;" if one[name] is None else f"{one[name]:.1%}" for name in names]
    verdict = "NOT KEPT" if _broken(float(alpha), one) else "yes"
    cells = [alpha, html.escape(region), str(one["n"]), f"{1 - float(alpha):.0%}", *shares, verdict]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
