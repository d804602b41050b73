"""How many images and studies a bundle would refuse as too unlike its training images, in the public form."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from triage_agent.learning.mura import LabeledImage


def outliers(images: Sequence[LabeledImage], strangeness: Sequence[float], limit: float) -> dict[str, Any]:
    """What is refused overall and by region; a study with one refused image is read by a human, and counts as refused.

    Args:
        images: what was scored.
        strangeness: of each, as a share of the bundle's own limit.
        limit: the site's limit, as a multiple of the bundle's; 0 refuses nothing. See `[model] outlier_limit`.
    """
    refused = [bool(limit) and one > limit for one in strangeness]
    rows = list(zip(images, refused, strict=True))
    regions = sorted({image.anatomy for image in images})
    return {
        "limit": limit,
        "overall": _counted(rows),
        "anatomies": {region: _counted([row for row in rows if row[0].anatomy == region]) for region in regions},
    }


def _counted(rows: Sequence[tuple[LabeledImage, bool]]) -> dict[str, Any]:
    studies, refused = {image.study for image, _ in rows}, {image.study for image, out in rows if out}
    return {
        "images": _share(sum(out for _, out in rows), len(rows)),
        "studies": _share(len(refused), len(studies)),
    }


def _share(refused: int, of: int) -> dict[str, float]:
    return {"n": of, "refused": refused, "share": refused / of}


def outlier_section(found: Mapping[str, Any]) -> str:
    """The body of the report's section, HTML."""
    limit = f"{found['limit']:g} times the bundle's own limit" if found["limit"] else "none"
    rows = "".join(
        f"<tr><td>{html.escape(region)}</td>{_cells(one['images'])}{_cells(one['studies'])}</tr>"
        for region, one in [("all", found["overall"]), *found["anatomies"].items()]
    )
    head = "".join(f"<th>{name}</th>" for name in ("", "images", "refused", "share", "studies", "refused", "share"))
    return (
        f"<p>Images that are farther from the training images than the limit ({limit}) do not count where the bundle "
        "serves, and a human reads their study. The figures of this page count every image.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _cells(one: Mapping[str, float]) -> str:
    return f"<td>{one['n']}</td><td>{one['refused']}</td><td>{one['share']:.1%}</td>"
