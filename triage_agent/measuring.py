"""What is measured of parts that know nothing of it: who sent what, how long decoding and the model take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.ops.journey import Moment

if TYPE_CHECKING:  # a listener needs nothing that reads pixels, and a worker nothing that receives
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.domain.ports import ImageScorer
    from triage_agent.domain.study import ImageScore
    from triage_agent.imaging.load import Loaded
    from triage_agent.imaging.loader import Loader
    from triage_agent.intake.incoming import Incoming
    from triage_agent.intake.receiver import Received, Receiver
    from triage_agent.ops.metrics import Metrics
    from triage_agent.settings import Settings

OTHER = "other"
"""The peer of whoever no peer of the configuration is: strangers must not make series without end."""

_REFUSED: dict[type[Exception], str] = {
    InvalidDatasetError: "invalid",
    StorageExhaustedError: "no_room",
    WorklistUnavailableError: "database_away",
}


def sender_names(settings: Settings) -> dict[str, str]:
    """The names by which senders are counted, by what a received instance has as its source.

    Those are the calling AE title of a peer (several peers with one are counted together) and the name of a token.
    """
    found = {token.name: token.name for token in settings.web.tokens}
    for peer in settings.dicom.peers:
        title = peer.ae_title.strip()
        found[title] = f"{found[title]},{peer.name}" if title in found else peer.name
    return found


class CountingReceiver:
    """A receiver whose images are counted by who sent them and what became of them; see `Receiver`."""

    def __init__(self, receiver: Receiver, settings: Settings, metrics: Metrics) -> None:
        self._receiver = receiver
        self._names = sender_names(settings)
        self._timings = metrics.timings
        self._journey = metrics.journey
        self.begin = receiver.begin

    def keep(self, incoming: Incoming) -> Received:
        """See `Receiver.keep`, whose errors go on."""
        peer, since = self._names.get(incoming.request.source.strip(), OTHER), Moment()
        try:
            received = self._receiver.keep(incoming)
        except Exception as error:
            self._timings.received.labels(peer, _REFUSED.get(type(error), "failed")).inc()
            raise
        self._timings.received.labels(peer, received.outcome.value).inc()
        self._timings.received_bytes.labels(peer).inc(incoming.size)
        self._journey.told(
            "receive",
            [received.header.study_instance_uid],
            since,
            peer=peer,
            outcome=received.outcome.value,
            bytes=incoming.size,
        )
        return received


class MeasuredLoader:
    """A loader whose images are timed."""

    def __init__(self, loader: Loader, metrics: Metrics) -> None:
        self._loader = loader
        self._seconds = metrics.timings.decode_seconds
        self._journey = metrics.journey

    def load(self, path: Path, *, secondary_captures: bool = False, side: int | None = None) -> Loaded:
        """See `Loader.load`."""
        with self._journey.step("decode", file=path.name), self._seconds.time():
            return self._loader.load(path, secondary_captures=secondary_captures, side=side)

    def header(self, path: Path) -> Dataset:
        """See `Loader.header`."""
        return self._loader.header(path)


class MeasuredScorer:
    """A scorer whose calls are timed and counted; see `ImageScorer`."""

    def __init__(self, scorer: ImageScorer, metrics: Metrics) -> None:
        self._scorer = scorer
        self._journey = metrics.journey
        bundle, timings = scorer.identity.label, metrics.timings
        self._seconds = timings.model_seconds.labels(bundle)
        self._images = timings.batch_images.labels(bundle)
        self._failures = timings.model_failures.labels(bundle)

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""
        return self._scorer.identity

    def score(
        self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()
    ) -> Sequence[ImageScore]:
        """As the scorer says, and raising what it raises."""
        since = Moment()
        with (
            self._journey.step("score", images=len(images), bundle=self.identity.label),
            self._failures.count_exceptions(),
        ):
            scores = self._scorer.score(images, anatomies)
        self._seconds.observe(since.seconds)
        self._images.observe(len(images))
        return scores
