"""A bundle that is scored by a process of its own. Imports no torch.

What receives, decides and sends then never waits for Python's lock while a model has it, and the model never for them:
a network of small operations takes ten times as long beside a busy thread. A model that crashes, or that the system
ends for want of memory, costs a retry and not the agent.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import structlog

from triage_agent.domain.errors import (
    BundleError,
    ConfigurationError,
    ModelUnavailableError,
    TriageError,
    UnreadableImageError,
)
from triage_agent.domain.urgency import urgency
from triage_agent.models.apart.process import PROGRAM, EndedError, ModelProcess
from triage_agent.models.apart.wire import Hello, Question, Trouble
from triage_agent.models.turns import Turns, turns_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.domain.decision import ModelIdentity
    from triage_agent.domain.study import ImageScore
    from triage_agent.models.runner import Placement

log = structlog.get_logger(__name__)

# So many processes may end with images that were alone in them before these are taken for the reason. The first one
# may have had others' images, of which one was the reason.
_ENDS_ALONE = 2
_HANGS_SECONDS = 120.0  # a large model on a CPU takes a minute an image
_GRACE_SECONDS = 5.0  # at a stop, for what is being scored
_REMEDY = "see the log, and `triage-agent check`"
_OURS: dict[str, type[TriageError]] = {
    kind.__name__: kind for kind in (BundleError, ConfigurationError, ModelUnavailableError, UnreadableImageError)
}


class ModelProcessError(TriageError):
    """The model failed on an image in its process, or ended it each time."""


class ApartScorer:
    """Scores display images with a bundle in a process of its own; implements `domain.ports.ImageScorer`.

    May be called from several threads.

    Attributes:
        device: where the model runs: "cpu", "cuda:0".
        sampled_side: as `Encoder.sampled_side`.
    """

    apart = True
    part = "model process"

    def __init__(self, ref: str, placement: Placement, program: Sequence[str] = PROGRAM) -> None:
        """Start the process, and wait until it has loaded the bundle `ref`; `program` is what is started.

        Raises:
            BundleError: it cannot be loaded.
            ConfigurationError: the bundle has no such error rate.
            ModuleNotFoundError: a package that it needs is not installed.
        """
        self._ref = ref
        self._placement = placement
        self._program = program
        self._lock = threading.Lock()
        self._closed = False
        # The kernel ends a process with the thread that started it, so that it is started by one that stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._open: dict[object, float] = {}  # questions, and since when they wait
        self._answered_at = float("-inf")
        self._starting: ModelProcess | None = None
        self._process: ModelProcess | None = None
        try:
            self._process, hello = self._started()
        except ModelUnavailableError as error:
            raise BundleError(error.message, remedy=error.remedy) from error
        self._identity = hello.identity
        self.device = hello.device
        self.sampled_side = hello.side
        self._company = Turns()  # whoever asks again does so alone
        self._device_turns = turns_on(hello.device)

    @property
    def identity(self) -> ModelIdentity:
        """The bundle behind the scores."""
        return self._identity

    @property
    def pid(self) -> int | None:
        """The process id, where it runs."""
        with self._lock:
            return None if self._process is None else self._process.pid

    def score(
        self, images: Sequence[NDArray[np.float32]], anatomies: Sequence[str | None] = ()
    ) -> Sequence[ImageScore]:
        """What the bundle says of each image; arguments as `scorer.Scorer.score`.

        Raises:
            UnreadableImageError: as there.
            ModelProcessError: the model failed on one of them, or ended its process each time.
            ModelUnavailableError: it cannot be asked, or its device's memory is full.
        """
        if not images:
            return []
        question = Question(images, list(anatomies) or [None] * len(images), urgency())
        with self._turn(), self._waiting():
            for ended in range(1 + _ENDS_ALONE):
                # Whoever has a right to the device first has it here too: all wait for the same process.
                with self._company.take(first=bool(ended), party=None if ended else self):
                    process = self._running()
                    try:
                        answer = process.ask(question)
                    except EndedError as error:
                        self._has_ended(process, error.why)
                        continue
                self._answered_at = time.monotonic()
                if isinstance(answer, Trouble):
                    raise _as_ours(answer)
                return answer
        raise ModelProcessError(f"the model's process ended {1 + _ENDS_ALONE} times", remedy=_REMEDY)

    def require(self) -> None:
        """For `/readyz`; asks nobody.

        Raises:
            ModelUnavailableError: it has been loading, or has given no score that somebody waits for, for very long.
        """
        # Several wait for one that is slow: what counts is that there is no answer at all.
        since = max(min([*self._open.values(), time.monotonic()]), self._answered_at)
        if (waited := time.monotonic() - since) > _HANGS_SECONDS:
            raise ModelUnavailableError(f"the model's process has not answered for {waited:.0f} s", remedy=_REMEDY)

    def stop(self) -> None:
        """Have what is being scored end soon, one way or the other; returns at once."""
        timer = threading.Timer(_GRACE_SECONDS, self.close)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End the process, also one that is loading; whoever waits for a score is told."""
        self._closed = True
        if (starting := self._starting) is not None:
            starting.kill()
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
        self._starter.shutdown(wait=False)

    def _turn(self) -> AbstractContextManager[None]:
        if self._device_turns is None:
            return nullcontext()
        return self._device_turns.take(first=not self._placement.yields, party=self)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Somebody waits for an answer."""
        question = object()
        self._open[question] = time.monotonic()
        try:
            yield
        finally:
            del self._open[question]

    def _running(self) -> ModelProcess:
        """The process, a new one where it has ended; all wait for that.

        Raises:
            ModelUnavailableError: it cannot be started, or the agent is stopping.
        """
        with self._lock:
            if self._closed:
                raise ModelUnavailableError("the agent is stopping")
            if self._process is None:
                self._process = self._started_again()
            return self._process

    def _started_again(self) -> ModelProcess:
        """As `_running`, of what went well before."""
        try:
            process, hello = self._started()
        except ModelUnavailableError:
            raise
        except (TriageError, ModuleNotFoundError) as error:
            raise ModelUnavailableError(f"the bundle cannot be loaded any more ({error})", remedy=_REMEDY) from error
        if hello.identity != self._identity:
            process.kill()
            raise ModelUnavailableError(
                f"the bundle has changed from {self._identity.label} to {hello.identity.label}",
                remedy="restart the agent",
            )
        return process

    def _started(self) -> tuple[ModelProcess, Hello]:
        """A new process with its bundle loaded.

        Raises:
            ModelUnavailableError: it cannot be started.
            TriageError: it cannot load the bundle; or another error as in `__init__`.
        """
        try:
            process = self._starter.submit(ModelProcess, self._ref, self._placement, self._program).result()
        except (OSError, RuntimeError) as error:  # or the agent is stopping
            raise ModelUnavailableError(f"the model's process cannot be started ({error})", remedy=_REMEDY) from None
        self._starting = process
        if self._closed:  # who closed this may have looked just before
            process.kill()
        try:
            hello = process.hello()
        except EndedError as error:
            process.kill()
            raise ModelUnavailableError(f"the model's process {error.why} while it loaded", remedy=_REMEDY) from None
        finally:
            self._starting = None
        if isinstance(hello, Trouble):
            process.kill()
            raise _as_ours(hello)
        log.info("model_process_started", pid=process.pid, bundle=hello.identity.label, device=hello.device)
        return process, hello

    def _has_ended(self, process: ModelProcess, why: str) -> None:
        """Let go of it, where no other thread has."""
        with self._lock:
            if self._process is not process:
                return
            self._process = None
        log.warning("model_process_ended", pid=process.pid, why=why)
        process.kill()


def _as_ours(trouble: Trouble) -> Exception:
    """The exception that it was in its own process."""
    if trouble.kind == ModuleNotFoundError.__name__:
        return ModuleNotFoundError(trouble.message, name=trouble.message)
    kind = _OURS.get(trouble.kind)
    if kind is not None:
        return kind(trouble.message, remedy=trouble.remedy)
    log.error("model_failed_in_its_process", error=trouble.kind, frames=list(trouble.frames))
    return ModelProcessError(trouble.message or f"the model failed ({trouble.kind})", remedy=trouble.remedy)
