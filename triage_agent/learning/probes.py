"""Does a bundle look at the anatomy? Shortcut probes: what it needs not is taken away, then what it needs.

Without the image's border, and without its side marker, the AUROC must hold; of the background alone nothing can be
told, and it must fall to chance (Zech et al. 2018, PLoS Medicine 15:e1002683; Geirhos et al. 2020 on shortcuts). Where
the masks come from, and where they fail, is in `learning.masks`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triage_agent.learning.masks import CENTRE_BOX, FOREGROUND, without_anatomy, without_border, without_marker
from triage_agent.learning.metrics import Estimate, estimate
from triage_agent.learning.variants import CLEAN, Measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.variants import Display

BORDER, MARKER, BACKGROUND = "border_masked", "marker_removed", "background_only"
CHANCE = 0.5
FEWEST = 10  # images with a marker
WIDEST = 0.25  # an interval about chance that is wider does not show that the AUROC is there
TOLERANCE = 0.02  # of AUROC: a fall that is smaller is not called one, however surely it is measured


@dataclass
class Probes:
    """The three changes, and a count of what the heuristics found while they were made."""

    markers: int = 0
    masked_by: Counter[str] = field(default_factory=Counter)

    def variants(self) -> dict[str, Callable[[LabeledImage, Display], Display]]:
        """The changes by name."""
        return {
            BORDER: lambda _, display: without_border(display),
            MARKER: self._without_marker,
            BACKGROUND: self._without_anatomy,
        }

    def report(self, measured: Measured) -> dict[str, Any]:
        """AUROC under each probe, what it lost, and what that says, in the public form."""
        return {
            BORDER: _held(measured, BORDER, "the outer tenth of the image"),
            MARKER: self._marker(measured),
            BACKGROUND: self._background(measured),
        }

    def _without_marker(self, _: LabeledImage, display: Display) -> Display:
        cleaned = without_marker(display)
        self.markers += cleaned is not None
        return display if cleaned is None else cleaned

    def _without_anatomy(self, _: LabeledImage, display: Display) -> Display:
        left, how = without_anatomy(display)
        self.masked_by[how] += 1
        return left

    def _marker(self, measured: Measured) -> dict[str, Any]:
        found = {"images_with_marker": self.markers, "images": len(measured.images)}
        if self.markers < FEWEST:
            return (
                found
                | _figures(measured, MARKER)
                | {
                    "passed": None,
                    "verdict": "Too few side markers were found for the probe to say anything.",
                }
            )
        return found | _held(measured, MARKER, "the side marker")

    def _background(self, measured: Measured) -> dict[str, Any]:
        counts = {how: self.masked_by[how] for how in (FOREGROUND, CENTRE_BOX)}
        figures = _figures(measured, BACKGROUND)
        passed = _at_chance(measured.area(BACKGROUND))
        return {"masked_by": counts} | figures | {"passed": passed, "verdict": _background_verdict(passed, counts)}


def _figures(measured: Measured, name: str) -> dict[str, Any]:
    (clean, clean_draws), (value, draws) = measured.areas(CLEAN), measured.areas(name)
    return {
        "auroc": measured.area(name).to_json(),
        "drop": estimate(clean - value, clean_draws - draws).to_json(),
    }


def _held(measured: Measured, name: str, what: str) -> dict[str, Any]:
    figures = _figures(measured, name)
    drop = figures["drop"]
    if drop["value"] <= TOLERANCE:
        return figures | {"passed": True, "verdict": f"The AUROC holds without {what}."}
    if drop["low"] is not None and drop["low"] > 0:
        return figures | {"passed": False, "verdict": f"The AUROC falls without {what}: the bundle makes use of it."}
    return figures | {"passed": None, "verdict": f"The AUROC is lower without {what}, but chance could do that."}


def _at_chance(area: Estimate) -> bool | None:
    if area.value is None or area.low is None or area.high is None:
        return None
    if not area.low <= CHANCE <= area.high:
        return False
    return True if area.high - area.low <= WIDEST else None


def _background_verdict(passed: bool | None, counts: dict[str, int]) -> str:
    if passed is None:
        return "Chance is possible, and so is more: the sample is too small to tell."
    if passed:
        return "At chance, as it must be: nothing is told from what is left."
    verdict = "Not at chance: the bundle tells something of abnormality where no anatomy was meant to be left."
    if counts[CENTRE_BOX]:
        verdict += (
            f" In {counts[CENTRE_BOX]} of {sum(counts.values())} images there is no background: what is left is "
            "a frame that still shows anatomy, so that for them this is no proof of a shortcut."
        )
    return verdict
