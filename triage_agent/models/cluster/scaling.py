"""How many replicas there are to be: by the images that they have to do, which requests do not tell.

Ray Serve asks on its controller, and takes this module there by value: it needs nothing but Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

IMAGES = "images"  # by which a replica tells how many it has

_QUEUED_BATCHES = 2  # a replica's share of the load, for which it keeps its device busy, in batches


def share(batch: int) -> int:
    """Images of a replica that is neither idle nor behind."""
    return _QUEUED_BATCHES * batch


def by_images(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Replicas for the images that wait or are scored, at `target_ongoing_requests` images each; Ray adds the delays.

    A request is at least one image: those that wait on the way, or are with a replica that has not told yet, count as
    that. Where no replica tells, each is taken for a batch.
    """
    target = context.config.get_target_ongoing_requests()
    told = (context.aggregated_metrics or {}).get(IMAGES)
    if not told:
        return context.total_num_requests / _QUEUED_BATCHES, {}
    return max(sum(told.values()), context.total_num_requests) / target, {}
