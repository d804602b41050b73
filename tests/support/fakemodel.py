"""Stands in for what a model's process loads: answers by an image's brightness, or ends its process, or hangs.

`python fakemodel.py DESCRIPTOR LANE...`; what each brightness does stands below. The bundle's name says how loading
goes, or that of a file does.
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import structlog
from support.story import MODEL

from triage_agent.domain.errors import BundleError, ModelUnavailableError, UnreadableImageError
from triage_agent.domain.study import ImageScore
from triage_agent.domain.urgency import urgency
from triage_agent.models import runner
from triage_agent.models.apart import child

log = structlog.get_logger(__name__)

ENDS, HANGS, FAILS, UNREADABLE, UNAVAILABLE, SLOW, SAYS = 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3
NONE, NO_TORCH, ENDS_WHILE_LOADING, LOADS_FOR_EVER, OTHER = "/none", "/no-torch", "/ends", "/slow", "/other"
SLOW_SECONDS = 1.0


class Fake:
    identity = MODEL
    device = "cpu"
    sampled_side = 448

    def score(self, images, anatomies=()):
        return [self._score(round(float(image[0, 0]), 2), name) for image, name in zip(images, anatomies, strict=True)]

    @staticmethod
    def _score(brightness, anatomy):
        if brightness == ENDS:
            os.abort()
        if brightness == HANGS:
            time.sleep(600)
        if brightness == SAYS:
            log.warning("device_memory_full", bundle="knees")
        if brightness == SLOW:
            time.sleep(SLOW_SECONDS)
        if brightness == FAILS:
            raise RuntimeError("DOE^JANE cannot be multiplied")
        if brightness == UNREADABLE:
            raise UnreadableImageError("not within 0 and 1")
        if brightness == UNAVAILABLE:
            raise ModelUnavailableError("the device is full", remedy="buy another one")
        return ImageScore(probability=brightness / 2, seen_anatomy=anatomy, strangeness=float(urgency()))


def start(name, ref, placement):
    assert (name, placement.apart) == ("local", False)
    if Path(ref).is_file():
        ref = Path(ref).read_text()
    if ref == NONE:
        raise BundleError("there is none", remedy="train one")
    if ref == NO_TORCH:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    if ref == ENDS_WHILE_LOADING:
        os._exit(3)
    if ref == LOADS_FOR_EVER:
        time.sleep(600)
    if ref == OTHER:
        Fake.identity = replace(MODEL, digest="e" * 64)
    return Fake()


if __name__ == "__main__":
    runner.start = start
    child.main()
