"""Work that goes on until it is told to stop: score images as they arrive, decide studies that are complete."""

import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import structlog

from triage_agent.domain.errors import ModelUnavailableError, WorklistUnavailableError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.study import StoredInstance
from triage_agent.ops.journey import NOWHERE, Journey, Moment

if TYPE_CHECKING:  # loops of processes that score nothing need none of what it imports
    from triage_agent.pipeline import Pipeline

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 0.25  # how long work that another process queued can lie unseen where nobody tells of it
_DATABASE_AWAY_SECONDS = 2.0
_MODEL_AWAY_SECONDS = 2.0  # at first, then twice as long each time, until
_LONGEST_MODEL_AWAY_SECONDS = 30.0
_ENDING_SECONDS = 4.0  # for each of the last things that are written


class Worker:
    """Takes work from the list, one batch of images and one complete study at a time."""

    def __init__(
        self,
        *,
        pipeline: "Pipeline",
        worklist: Worklist,
        owner: str,
        lease: timedelta,
        batch: int,
        clock: Clock,
        journey: Journey = NOWHERE,
        decides: bool = True,
        scored: Callable[[], None] = lambda: None,
    ) -> None:
        """`scored` is called when images were: their study, which may be complete, could not be claimed meanwhile.

        `decides`: takes studies, too; without, an image never waits for a report that this one is building.
        """
        self._pipeline = pipeline
        self._worklist = worklist
        self._owner = owner
        self._lease = lease
        self._batch = batch
        self._clock = clock
        self._journey = journey
        self._decides = decides
        self._scored = scored

    def step(self) -> bool:
        """Do one round; True if there was something to do.

        Images first, since the flag does not wait; then a study, so that a stream of images never starves reports.

        Raises:
            ModelUnavailableError: the model scores nothing; what is held has to be given back.
        """
        self._pipeline.try_model_again()
        since = Moment()
        images = self._worklist.claim_images(self._owner, self._clock(), self._lease, self._batch)
        if images:
            files = {_name(image.instance): image.study_instance_uid for image in images}
            with self._journey.holding(since, files):
                self._pipeline.score_images(images)
            self._scored()
        if not self._decides:
            return bool(images)
        since = Moment()
        study = self._worklist.claim_study(self._owner, self._clock(), self._lease)
        if study is not None:
            files = {_name(instance): study.study_instance_uid for instance in study.instances}
            with self._journey.holding(since, files):
                self._pipeline.decide_study(study, self._owner)
        return bool(images) or study is not None


def _name(instance: StoredInstance) -> str:
    return PurePosixPath(instance.path).name


class Loop:
    """A thread that repeats a step while there is something to do, and otherwise waits to be woken."""

    def __init__(
        self,
        name: str,
        step: Callable[[], bool],
        recover: Callable[[bool], None] = lambda _counted: None,
        *,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        """`recover` is called before the step after one that failed: it frees what that one held.

        It is told whether the failure counts as an attempt at that: not where the database or the model was away.
        `idle_seconds` is how long to wait for being woken before looking for work by itself.
        """
        self.name = name
        self._idle_seconds = idle_seconds
        self._step = step
        self._recover = recover
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failures = 0  # in a row
        self._counted: bool | None = None  # what to tell `recover`; None: nothing is held of a step that failed

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is work: do not wait for the next look."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no other step; `join` waits for the one in hand."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout: float) -> bool:
        """Wait until the step in hand has ended; True if it has within `timeout` seconds."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.warning("still_busy_at_stop", loop=self.name)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if self._counted is not None:
                    self._recover(self._counted)
                    self._counted = None
                busy = self._step()
            except Exception as error:  # noqa: BLE001 - a bug in one step must not end the loop
                self._stopping.wait(self._failed(error))
                continue
            self._failures = 0
            if not busy:
                self._wake.wait(self._idle_seconds)

    def _failed(self, error: Exception) -> float:
        """Say so; returns the seconds to wait before the next step."""
        self._failures += 1
        away = isinstance(error, WorklistUnavailableError | ModelUnavailableError)
        self._counted = bool(self._counted) or not away
        if isinstance(error, WorklistUnavailableError):
            log.warning("worklist_unavailable", loop=self.name, error=error.message)
        elif isinstance(error, ModelUnavailableError) and self._stopping.is_set():
            log.info("model_stopped", loop=self.name)
        elif isinstance(error, ModelUnavailableError):
            log.error("model_unavailable", loop=self.name, error=error.message)
            return min(_MODEL_AWAY_SECONDS * 2.0 ** min(self._failures - 1, 10), _LONGEST_MODEL_AWAY_SECONDS)
        else:
            # What was claimed is given back, and is tried a bounded number of times. The log gets the frames and
            # not the message, which may quote what a patient is called.
            frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
            log.error("step_failed", loop=self.name, error=type(error).__name__, frames=frames)
        return _DATABASE_AWAY_SECONDS


class Loops:
    """The loops of one process, started and stopped together."""

    def __init__(self, stop_seconds: float) -> None:
        """`stop_seconds` is what all of them together have to end what is in hand, from `stop` on."""
        self._stop_seconds = stop_seconds
        self._stop_by = 0.0
        self._loops: list[Loop] = []

    def add(self, loop: Loop) -> None:
        """Let it be one of them."""
        self._loops.append(loop)

    def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.start()

    def wake(self, whom: str = "") -> None:
        """There is work for one of those whose names begin so."""
        for loop in self._loops:
            if loop.name.startswith(whom):
                loop.wake()

    def stop(self) -> None:
        """Begin no other step."""
        self._stop_by = time.monotonic() + self._stop_seconds
        for loop in self._loops:
            loop.stop()

    def join(self) -> list[str]:
        """Wait until all have ended, or their time is over; the names of those that have not."""
        return [loop.name for loop in self._loops if not loop.join(max(0.0, self._stop_by - time.monotonic()))]


def in_time(task: Callable[[], None]) -> None:
    """At the end: do it, and do not wait for long where the database does not answer."""
    thread = threading.Thread(target=task, name="ending", daemon=True)
    thread.start()
    thread.join(_ENDING_SECONDS)
    if thread.is_alive():
        log.warning("database_does_not_answer_at_stop")
