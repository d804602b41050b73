"""How a bundle holds out when images get worse: AUROC under each corruption and severity."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.learning.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from triage_agent.learning.metrics import estimate
from triage_agent.learning.variants import CLEAN, Measured, drawn_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.learning.variants import Display


def corruption_variants(seed: int) -> dict[str, Callable[[LabeledImage, Display], Display]]:
    """Every corruption at every severity, by its name."""
    return {
        _name(kind, severity): partial(_corrupted, kind, severity, (seed, place, severity))
        for place, kind in enumerate(CORRUPTIONS)
        for severity in SEVERITIES
    }


def robustness(measured: Measured, threshold: float) -> dict[str, Any]:
    """AUROC by corruption and severity, their mean, and how far that lies below the AUROC of the clean images.

    `sensitivity` and `specificity` are at the bundle's threshold: a change of greys can leave the order of studies, and
    so the AUROC, as it was, and still turn every call around.
    """
    clean, clean_draws = measured.areas(CLEAN)
    cells = {kind: [measured.areas(_name(kind, severity)) for severity in SEVERITIES] for kind in CORRUPTIONS}
    flat = [cell for row in cells.values() for cell in row]
    mean = float(np.mean([value for value, _ in flat]))
    mean_draws = np.mean([draws for _, draws in flat], axis=0)
    return {
        "clean": measured.area(CLEAN).to_json() | _calls(measured, CLEAN, threshold),
        "mean": estimate(mean, mean_draws).to_json(),
        "drop": estimate(clean - mean, clean_draws - mean_draws).to_json(),
        "corruptions": {
            kind: {
                "unit": CORRUPTIONS[kind].unit,
                "mean": float(np.mean([value for value, _ in row])),
                "severities": [
                    {"severity": severity, "level": level, "auroc": estimate(*cell).to_json()}
                    | _calls(measured, _name(kind, severity), threshold)
                    for severity, level, cell in zip(SEVERITIES, CORRUPTIONS[kind].levels, row, strict=True)
                ],
            }
            for kind, row in cells.items()
        },
    }


def _name(kind: str, severity: int) -> str:
    return f"{kind}/{severity}"


def _corrupted(kind: str, severity: int, draw: tuple[int, ...], image: LabeledImage, display: Display) -> Display:
    return corrupt(display, kind, severity, drawn_for(image, *draw))


def _calls(measured: Measured, name: str, threshold: float) -> dict[str, float]:
    """Both classes are in the sample, so neither share is of nothing."""
    scores = measured.studies(name)
    called = np.array([score.probability >= threshold for score in scores])
    labels = np.array([score.label for score in scores])
    return {
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float(1 - called[labels == 0].mean()),
    }
