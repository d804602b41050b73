"""The agent's side of the process that speaks with Ray: started when it is needed, and again when it has ended."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog

from triage_agent.domain.errors import ModelUnavailableError
from triage_agent.models.cluster import wire
from triage_agent.models.cluster.answer import Answer, Outcome
from triage_agent.models.cluster.wire import Question, Standing, State
from triage_agent.models.neighbours import bound, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    import numpy as np
    from numpy.typing import NDArray

    from triage_agent.models.cluster.plan import Model, Plan

log = structlog.get_logger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "triage_agent.models.cluster.driver")

_AGAIN_SECONDS = 5.0  # between two starts of it
_LATE_SECONDS = 5.0  # what it may take longer than it was given, before it counts as hung
_KILL_SECONDS = 10.0
_SEND_SECONDS = 60  # for it to take what it is sent; it brings Ray in before it takes anything
_LEAVE_SECONDS = 8.0  # for taking leave of the cluster
_NO_USAGE_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True, slots=True)
class Asked:
    """Images to be scored, at least one, and what the header of each says of the region."""

    model: Model
    images: Sequence[NDArray[np.float32]]
    anatomies: Sequence[str | None]
    rank: int


class Link:
    """To one cluster, for all bundles of this process; may be used from several threads."""

    def __init__(self, plan: Plan, model: Model, program: Sequence[str] = PROGRAM) -> None:
        """`model` is the bundle that decides: replicas load it before they are ready."""
        self._plan = plan
        self._model = model
        self._program = program
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._next_start = 0.0
        self._closed = False

    def start(self) -> None:
        """Begin to join, without waiting for it."""
        with suppress(ModelUnavailableError):
            self._running()

    def ask(self, asked: Asked) -> list[Answer]:
        """What became of each image, in order, when all have an answer or their time is over.

        Raises:
            ModelUnavailableError: nobody can be asked.
        """
        process = self._running()
        waiting = [process.ask(one, self._plan.timeout_seconds) for one in _cut(asked)]
        deadline = time.monotonic() + self._plan.timeout_seconds + _LATE_SECONDS
        try:
            answers = [future.result(max(0.0, deadline - time.monotonic())) for future in waiting]
            return list(itertools.chain.from_iterable(answers))
        except FutureTimeoutError:
            # Joining takes as long as it takes: importing Ray alone may be a minute on a machine under load.
            if process.standing.state is State.JOINING:
                raise ModelUnavailableError(f"Ray: {process.standing.says}", remedy=_REMEDY) from None
            process.end(0.0)  # it hangs; the next question starts another one
            raise ModelUnavailableError("the process that speaks with Ray hangs", remedy=_REMEDY) from None

    def standing(self) -> Standing:
        """How the cluster stands, as far as was heard; a process that has ended is started again."""
        try:
            return self._running().standing
        except ModelUnavailableError as error:
            return Standing(State.AWAY, error.message)

    def stop(self, grace_seconds: float) -> None:
        """Whoever waits for an answer waits no longer than this from now on."""
        timer = threading.Timer(grace_seconds, self._abandon)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """Take leave of the cluster and end the process."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            process.end(_LEAVE_SECONDS)

    def _abandon(self) -> None:
        with self._lock:
            process = self._process
        if process is not None:
            process.abandon("the agent stops")

    def _running(self) -> _Process:
        with self._lock:
            if self._closed:
                raise ModelUnavailableError("the agent stops")
            if self._process is None or not self._process.lives:
                if self._process is not None:
                    log.warning("ray_driver_ended", status=self._process.status)
                    self._process.end(0.0)
                    self._process = None
                now = time.monotonic()
                if now < self._next_start:
                    raise ModelUnavailableError("the process that speaks with Ray has ended", remedy=_REMEDY)
                self._next_start = now + _AGAIN_SECONDS
                self._process = _Process(self._plan, self._model, self._program)
            return self._process


def _cut(asked: Asked) -> list[Asked]:
    """One question, or several where there are more images than one may have."""
    most = wire.MOST_IMAGES
    return [
        replace(asked, images=asked.images[first : first + most], anatomies=asked.anatomies[first : first + most])
        for first in range(0, len(asked.images), most)
    ]


_REMEDY = "see `triage-agent check`, and Ray's logs in /tmp/ray/session_latest/logs"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """For the answers to a question about so many images."""

    images: int
    future: Future[list[Answer]]


class _Process:
    """One run of it."""

    def __init__(self, plan: Plan, model: Model, program: Sequence[str]) -> None:
        self.standing = Standing(State.JOINING, "joining the cluster")
        self._connection, theirs = multiprocessing.Pipe()
        bound(self._connection, _SEND_SECONDS)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # Ray has log files of its own
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at a terminal is for the agent
                env=_environment(plan),
            )
        self._numbers = itertools.count()
        self._sending = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_lock = threading.Lock()
        self._hung_up = False
        self._try(lambda: wire.send_beginning(self._connection, plan, model))
        self._reader = threading.Thread(target=self._read, name="ray-answers", daemon=True)
        self._reader.start()

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        return not self._hung_up and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended; None while it has not."""
        return self._process.poll()

    def ask(self, asked: Asked, seconds: float) -> Future[list[Answer]]:
        """Send a question; the answers come in their time, all at once, and say so if they never will."""
        number = next(self._numbers)
        question = Question(
            number=number,
            model=asked.model,
            anatomies=tuple(asked.anatomies),
            rank=asked.rank,
            seconds=seconds,
            shapes=tuple((image.shape[0], image.shape[1]) for image in asked.images),
        )
        future: Future[list[Answer]] = Future()
        with self._waiting_lock:
            self._waiting[number] = _Waiting(len(asked.images), future)
        with self._sending:
            self._try(lambda: wire.send_question(self._connection, question, asked.images))
        if self._hung_up:
            self.abandon(_ENDED)
        return future

    def abandon(self, why: str) -> None:
        """Nobody waits any longer."""
        with self._waiting_lock:
            waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            one.future.set_result([Answer(outcome=Outcome.AWAY, says=why)] * one.images)

    def end(self, leave_seconds: float) -> None:
        """End it, after it had so long to take leave."""
        if leave_seconds:
            self._hung_up = True
            _hang_up(self._connection)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(leave_seconds)
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)
        self._reader.join(_KILL_SECONDS)
        self.abandon(_ENDED)
        self._connection.close()

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except (OSError, ValueError):
            self._hung_up = True

    def _read(self) -> None:
        try:
            while True:
                news = wire.receive_news(self._connection)
                if isinstance(news, Standing):
                    self._heard(news)
                    continue
                self._answered(*news)
        except (EOFError, OSError, ValueError):
            self._hung_up = True
            self.abandon(_ENDED)

    def _answered(self, number: int, answers: list[Answer]) -> None:
        with self._waiting_lock:
            one = self._waiting.get(number)
            if one is not None and len(answers) != one.images:
                raise ValueError(f"{len(answers)} answers about {one.images} images")
            self._waiting.pop(number, None)
        if one is not None:
            one.future.set_result(answers)

    def _heard(self, standing: Standing) -> None:
        self.standing = standing
        tell = log.warning if standing.state is State.AWAY else log.info
        tell("ray_cluster", state=standing.state.value, says=standing.says)


_ENDED = "the process that speaks with Ray has ended"


def _hang_up(connection: Connection[Any, Any]) -> None:
    """Say that there is no more, and go on listening until the other side has heard it."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_WR)


def _environment(plan: Plan) -> dict[str, str]:
    # Replicas of a cluster of our own inherit it.
    passed = environment("RAY_", "NCCL_")
    token = plan.token or ("" if plan.address else secrets.token_hex(32))
    if not plan.address:  # as Ray does on systems for which it has no clusters: it listens on 127.0.0.1 alone
        passed["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if token:
        passed |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return passed | _NO_USAGE_STATISTICS
