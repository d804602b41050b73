"""A model of fixed time: so many seconds an image, in which it uses no processor. For replicas, and for whole workers.

Run as a program it is `triage-agent` with this model in place of the bundle: `python sleeping.py SECONDS serve ...`.
"""

import os
import sys
import threading
import time

from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.study import ImageScore

DEADLY = -1.0  # the first pixel of an image with which the process dies


class Sleeping:
    """Scores one image after the other, whoever asks: a device does one thing at a time."""

    identity = ModelIdentity(
        name="sleeping",
        version="1",
        digest="5" * 64,
        anatomies=("XR_KNEE",),
        threshold=0.5,
        alert=0.9,
        clinical_use=False,
    )

    def __init__(self, seconds):
        self.seconds = seconds
        self._device = threading.Lock()

    def score(self, images, anatomies=()):
        if any(float(image[0, 0]) == DEADLY for image in images):
            os._exit(1)
        with self._device:
            time.sleep(self.seconds * len(images))
        return [ImageScore(probability=float(image[0, 0])) for image in images]


def load(seconds, _model):
    """What replicas load in place of a bundle."""
    return Sleeping(seconds)


def main():
    from triage_agent import bootstrap  # noqa: PLC0415 - replicas need none of it
    from triage_agent.cli import main as triage_agent  # noqa: PLC0415

    seconds = float(sys.argv.pop(1))
    bootstrap.start_scorer = lambda _settings: Sleeping(seconds)
    triage_agent()


if __name__ == "__main__":
    main()
