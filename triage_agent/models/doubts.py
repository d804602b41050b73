"""What a bundle's own figures say against letting it decide; intact files say nothing of that."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage_agent.models.bundle import BundleSpec

_CHANCE = 0.5  # the AUROC of a coin


def doubts(spec: "BundleSpec") -> tuple[str, ...]:
    """Sentences for people, the gravest first; none where the figures speak for the bundle."""
    return tuple(_doubts(spec.metrics))


def _doubts(metrics: Mapping[str, Any]) -> Iterator[str]:
    held_back, valid = metrics.get("held_back"), metrics.get("valid") or {}
    if not held_back and not valid:
        yield "never measured on labelled studies"
        return
    for name, report in valid.items():
        auroc = report["overall"]["auroc"]
        value, low, high = auroc["value"], auroc["low"], auroc["high"]
        if value is not None and low is not None and low <= _CHANCE:
            yield f"no better than chance on {name}: AUROC {value:.3f} ({low:.3f} to {high:.3f})"
    if held_back and not held_back["sensitivity_at_alert"]:
        yield "no abnormal study held back in training reaches the alert threshold: nothing is raised early"
