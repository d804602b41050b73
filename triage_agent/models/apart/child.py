"""The process that has the model: loads a bundle, and scores for the agent that started it until that is gone.

`python -m triage_agent.models.apart.child DESCRIPTOR LANE...`: a connection for the beginning and the end, and those on
which questions come, one at a time on each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

import structlog

from triage_agent.domain.errors import TriageError
from triage_agent.domain.urgency import asking_for
from triage_agent.domain.vocabulary import Priority
from triage_agent.models import runner
from triage_agent.models.apart import wire
from triage_agent.models.apart.wire import Hello, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import EventDict, WrappedLogger

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.domain.study import ImageScore
    from triage_agent.models.apart.wire import Remark

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2), PR_SET_PDEATHSIG
_NICENESS = 10  # of a bundle that yields to others
_PRIORITIES = {priority.rank: priority for priority in Priority}


class _Said:
    """What is logged here, kept for the next answer: the agent says it, in its own form."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._remarks: list[Remark] = []

    def hear(self, _logger: WrappedLogger, level: str, event: EventDict) -> NoReturn:
        """A processor of structlog's; nothing is printed."""
        remark = {name: value if isinstance(value, int | float) else str(value) for name, value in event.items()}
        with self._lock:
            self._remarks.append({**remark, "level": level})
        raise structlog.DropEvent

    def taken(self) -> list[Remark]:
        """All that was said since the last time."""
        with self._lock:
            remarks, self._remarks = self._remarks, []
        return remarks


_said = _Said()


def main() -> None:
    """Answer until whoever asks is gone, whatever is being scored then."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)  # also while it is stopped
    structlog.configure(processors=[_said.hear])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the agent, which ends this one
        signal.signal(number, signal.SIG_IGN)
    connection, *lanes = [_opened(int(word)) for word in sys.argv[1:]]
    with suppress(EOFError, OSError):
        ref, placement = wire.receive_beginning(connection)
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        if placement.yields:
            with suppress(OSError):  # a container that allows it to nobody
                os.nice(_NICENESS)
        if (scorer := _loaded(connection, ref, placement)) is not None:
            serving = [threading.Thread(target=_serve, args=(lane, scorer)) for lane in lanes]
            for thread in serving:
                thread.start()
            for thread in serving:
                thread.join()
    os._exit(0)


def _end_with(connection: Connection[Any, Any]) -> None:
    """Nothing comes but the end, also while the bundle is loaded or an image is scored."""
    with suppress(EOFError, OSError):
        connection.recv_bytes()
    os._exit(0)


def _opened(descriptor: int) -> Connection[Any, Any]:
    return Connection(descriptor)


def _loaded(connection: Connection[Any, Any], ref: str, placement: runner.Placement) -> ImageScorer | None:
    """The scorer, after it was told of; None where it cannot be loaded, which was told, too."""
    try:
        scorer = runner.start("local", ref, placement)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked says it
        wire.send_hello(connection, _trouble(error), _said.taken())
        return None
    device, side = getattr(scorer, "device", "cpu"), getattr(scorer, "sampled_side", None)
    wire.send_hello(connection, Hello(scorer.identity, device, side), _said.taken())
    return scorer


def _serve(lane: Connection[Any, Any], scorer: ImageScorer) -> None:
    """One question after the other; what cannot be answered at all ends the process, so that nobody waits for it."""
    try:
        while True:
            answer = _answer(wire.receive_question(lane), scorer)
            wire.send_answer(lane, answer, _said.taken())
    except (EOFError, OSError):
        return
    except BaseException:  # noqa: BLE001 - the next process may do better
        os._exit(1)


def _answer(question: wire.Question, scorer: ImageScorer) -> Sequence[ImageScore] | Trouble:
    try:
        with asking_for([_PRIORITIES[question.rank]]):
            return scorer.score(question.images, question.anatomies)
    except Exception as error:  # noqa: BLE001 - it is theirs who asked
        return _trouble(error)


def _trouble(error: Exception) -> Trouble:
    """Only what we said ourselves is passed on: a library may quote what it was given."""
    name = type(error).__name__
    if isinstance(error, TriageError):
        return Trouble(name, error.message, error.remedy)
    if isinstance(error, ModuleNotFoundError):
        return Trouble(name, error.name or "")
    return Trouble(name, frames=[str(frame) for frame in traceback.extract_tb(error.__traceback__)])


if __name__ == "__main__":
    main()
