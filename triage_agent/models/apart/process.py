"""One run of the process that has the model, seen from the agent that asks it."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog

from triage_agent.models.apart import wire
from triage_agent.models.neighbours import bound, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from triage_agent.domain.study import ImageScore
    from triage_agent.models.apart.wire import Hello, Question, Remark, Trouble
    from triage_agent.models.runner import Placement

log = structlog.get_logger(__name__)

PROGRAM = (sys.executable, "-P", "-m", "triage_agent.models.apart.child")

_LOAD_SECONDS = 900.0
_FIRST_ANSWER_SECONDS = 900.0  # where the model is compiled with it
_ANSWER_SECONDS = 300.0  # a large model on a CPU takes a minute, and may have several questions
_SEND_SECONDS = 60  # for it to take a question
_KILL_SECONDS = 10.0


class EndedError(Exception):
    """The process has ended, or speaks nonsense, in the middle of a question.

    Attributes:
        why: in words that can stand behind "the model's process".
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ModelProcess:
    """Answers questions, some at once; may be asked from several threads."""

    def __init__(self, ref: str, placement: Placement, program: Sequence[str] = PROGRAM) -> None:
        """Start it; `hello` waits until it has loaded the bundle `ref`.

        Raises:
            OSError: it cannot be started.
        """
        with ExitStack() as on_failure, ExitStack() as theirs:
            pairs = [multiprocessing.Pipe() for _ in range(placement.lanes + 1)]
            for ours, other in pairs:
                on_failure.callback(ours.close)
                theirs.callback(other.close)
            descriptors = [other.fileno() for _, other in pairs]
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*program, *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries' remarks; what goes wrong is told as an answer
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C at a terminal is for the agent
                env=environment(),
            )
            on_failure.pop_all()
        self._connection, *lanes = [ours for ours, _ in pairs]
        self._has_answered = False
        self._free: queue.SimpleQueue[Connection[Any, Any]] = queue.SimpleQueue()
        for lane in lanes:
            bound(lane, _SEND_SECONDS)
            self._free.put(lane)
        with suppress(OSError):  # it has ended already, which `hello` says
            wire.send_beginning(self._connection, ref, placement)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hello(self) -> Hello | Trouble:
        """What it says of itself, once, as soon as it has loaded the bundle or failed to.

        Raises:
            EndedError: it says nothing.
        """
        with self._hearing():
            if not self._connection.poll(_LOAD_SECONDS):
                self.kill()
                raise EndedError(f"took longer than {_LOAD_SECONDS:g} s")
            return wire.receive_hello(self._connection, _hear)

    def ask(self, question: Question) -> list[ImageScore] | Trouble:
        """Its answer.

        Raises:
            EndedError: it has none.
        """
        lane = self._free.get()
        try:
            with self._hearing():
                wire.send_question(lane, question)
                patience = _ANSWER_SECONDS if self._has_answered else _FIRST_ANSWER_SECONDS
                if not lane.poll(patience):
                    self.kill()
                    raise EndedError(f"gave no answer within {patience:g} s")
                answer = wire.receive_answer(lane, _hear)
                self._has_answered = True
                return answer
        finally:
            self._free.put(lane)

    def kill(self) -> None:
        """End it now; whoever waits for an answer finds it gone, and the connections go with the last of them."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            raise EndedError(self._end()) from None
        except ValueError:
            self.kill()
            raise EndedError("speaks nonsense") from None

    def _end(self) -> str:
        """Why it is gone."""
        try:
            code = self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return "hung up"
        if code >= 0:
            return f"ended with exit status {code}"
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"


def _hear(remark: Remark) -> None:
    """Log what it logged."""
    said = dict(remark)
    tell = {"error": log.error, "critical": log.error, "warning": log.warning}.get(str(said.pop("level", "")), log.info)
    tell(str(said.pop("event", "")), **said)
