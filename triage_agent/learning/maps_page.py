"""Maps of some images and the checks of the maps, as a section of the evaluation page."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

import numpy as np

from triage_agent.learning.explained import DESTROYED, HEAD, Pointing, passes, pointing_game, sanity
from triage_agent.learning.mura import read_display
from triage_agent.models.explain import SEES_NO_HEAD
from triage_agent.models.overlay import NO_FINDING, overlay, png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from triage_agent.learning.mura import LabeledImage
    from triage_agent.models.explain import Explainer

LARGEST = 320  # pixels a side of a picture on the page
_NOTE = (
    f"{NO_FINDING} It shows what the arithmetic leaned on, it has no error rate of its own, and it looks just as "
    "convincing where the model is wrong. Each map is scaled to its own maximum: that of a normal image is as bright "
    "as that of an abnormal one. Maps are off unless asked for, here and everywhere else."
)
_ROLLOUT = (
    "Attention rollout does not depend on the label or the head (its value beside a randomised head is 1 by "
    "construction): it shows where the encoder gathers from, not why an image is called abnormal."
)


def maps_section(explainer: Explainer, images: Sequence[LabeledImage], n: int, *, seed: int = 0) -> str:
    """An HTML fragment: maps of `n` abnormal and `n` normal images, sanity checks, the pointing game where boxes are.

    Images are taken evenly through the list, whatever they look like. The checks use the images that are shown. For
    each of them every method makes its map 1 + 2 times the number of stages of `explained.sanity`.

    Raises:
        DataError: an image cannot be read.
        ValueError: there are no images, or `n` is not positive.
    """
    if n < 1:
        raise ValueError("maps of how many images?")
    chosen = [one for label in (1, 0) for one in _evenly([image for image in images if image.label == label], n)]
    displays = [read_display(image.path) for image in chosen]
    table = _checks(sanity(explainer, displays, seed=seed), len(chosen))
    games = {method: pointing_game(explainer, chosen, method) for method in explainer.methods if _boxed(chosen)}
    figures = [_figure(explainer, image, display) for image, display in zip(chosen, displays, strict=True)]
    return (
        f'<section class="maps"><p class="warning">{html.escape(_NOTE)}</p>{table}{_pointing(games)}'
        f'<div class="plots">{"".join(figures)}</div></section>'
    )


def _evenly(images: Sequence[LabeledImage], n: int) -> list[LabeledImage]:
    count = min(n, len(images))
    return [images[place * len(images) // count] for place in range(count)]


def _boxed(images: Sequence[LabeledImage]) -> bool:
    return any(image.box is not None for image in images)


def _figure(explainer: Explainer, image: LabeledImage, display: NDArray[np.float32]) -> str:
    """The image and its maps side by side."""
    grey = np.repeat(np.round(np.clip(display, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    pictures = [grey] + [overlay(display, explainer.map(display, method)) for method in explainer.methods]
    shown = png(np.concatenate(pictures, axis=1), largest=LARGEST * len(pictures))
    probability = explainer.probability(display, image.anatomy)
    words = [image.anatomy.removeprefix("XR_").lower(), "abnormal" if image.label else "normal"]
    words += [] if probability is None else [f"probability {probability:.2f}"]
    told = html.escape(f"{', '.join(words)}: image, {', '.join(explainer.methods)}")
    encoded = base64.b64encode(shown).decode("ascii")
    return f'<figure><img alt="{told}" src="data:image/png;base64,{encoded}"><figcaption>{told}</figcaption></figure>'


def _checks(found: dict[str, dict[str, float]], count: int) -> str:
    stages = list(next(iter(found.values())))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("drawn again", *stages, "destroyed"))
    rows = []
    for method, values in found.items():
        cells = [html.escape(method)] + [f"{values[stage]:.2f}" for stage in stages]
        if method in SEES_NO_HEAD:
            cells[1 + stages.index(HEAD)] += " (sees no head)"
        cells.append("yes" if passes(method, values) else "no: do not use it")
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    notes = f"Mean rank correlation of a map with that of a model whose weights were drawn again, over {count} images; "
    notes += f"at most {DESTROYED} counts as destroyed (Adebayo et al. 2018)."
    notes += f" {_ROLLOUT}" if SEES_NO_HEAD & found.keys() else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p><small>{notes}</small></p>"


def _pointing(games: dict[str, Pointing]) -> str:
    lines = [
        f"{method}: the highest point lies inside the known box in {game.accuracy:.0%} of {game.n} abnormal images "
        f"(a random point: {game.chance:.0%}; the same points in other images' boxes: {game.elsewhere:.0%})."
        for method, game in games.items()
    ]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)
