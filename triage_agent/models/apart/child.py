"""The process that has the model: loads a bundle, and scores for the agent that started it until that is gone.

`python -m triage_agent.models.apart.child DESCRIPTOR LANE...`: a connection for the beginning and the end, and those on
which questions come, one at a time on each.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from triage_agent.domain.errors import TriageError
from triage_agent.domain.urgency import asking_for
from triage_agent.domain.vocabulary import Priority
from triage_agent.models import runner
from triage_agent.models.apart import wire
from triage_agent.models.apart.wire import Hello, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triage_agent.domain.ports import ImageScorer
    from triage_agent.domain.study import ImageScore

_NICENESS = 10  # of a bundle that yields to others
_PRIORITIES = {priority.rank: priority for priority in Priority}


def main() -> None:
    """Answer until whoever asks is gone, whatever is being scored then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the agent, which ends this one
        signal.signal(number, signal.SIG_IGN)
    connection, *lanes = [_opened(int(word)) for word in sys.argv[1:]]
    with suppress(EOFError, OSError):
        ref, placement = wire.receive_beginning(connection)
        if placement.yields:
            os.nice(_NICENESS)
        if (scorer := _loaded(connection, ref, placement)) is not None:
            for lane in lanes:
                threading.Thread(target=_serve, args=(lane, scorer), daemon=True).start()
            connection.recv_bytes()  # nothing comes but the end
    os._exit(0)


def _opened(descriptor: int) -> Connection[Any, Any]:
    return Connection(descriptor)


def _loaded(connection: Connection[Any, Any], ref: str, placement: runner.Placement) -> ImageScorer | None:
    """The scorer, after it was told of; None where it cannot be loaded, which was told, too."""
    try:
        scorer = runner.start("local", ref, placement)
    except Exception as error:  # noqa: BLE001 - whatever it is, who asked says it
        wire.send_hello(connection, _trouble(error))
        return None
    device, side = getattr(scorer, "device", "cpu"), getattr(scorer, "sampled_side", None)
    wire.send_hello(connection, Hello(scorer.identity, device, side))
    return scorer


def _serve(lane: Connection[Any, Any], scorer: ImageScorer) -> None:
    """One question after the other."""
    with suppress(EOFError, OSError):
        while True:
            wire.send_answer(lane, _answer(wire.receive_question(lane), scorer))


def _answer(question: wire.Question, scorer: ImageScorer) -> Sequence[ImageScore] | Trouble:
    try:
        with asking_for([_PRIORITIES[question.rank]]):
            return scorer.score(question.images, question.anatomies)
    except Exception as error:  # noqa: BLE001 - it is theirs who asked
        return _trouble(error)


def _trouble(error: Exception) -> Trouble:
    """Only what we said ourselves is passed on: a library may quote what it was given."""
    if isinstance(error, TriageError):
        return Trouble(type(error).__name__, error.message, error.remedy)
    if isinstance(error, ModuleNotFoundError):
        return Trouble(type(error).__name__, error.name or "")
    return Trouble(type(error).__name__)


if __name__ == "__main__":
    main()
