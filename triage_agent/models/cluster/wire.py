"""What goes between an agent and its process that speaks with Ray: JSON, and pixels as they lie in memory.

Nothing is pickled. Messages are framed by `multiprocessing.connection`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.models.cluster.answer import Answer
from triage_agent.models.cluster.plan import Model, Plan

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

_LARGEST_HEADER = 1 << 20  # bytes; a question has some hundreds
_ITEMSIZE = 4  # bytes of a float32


class State(StrEnum):
    """Whether the cluster can be asked."""

    JOINING = "joining"
    READY = "ready"
    ABSENT = "absent"  # joined, and the application is not there
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state, and what there is to say of it."""

    state: State
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of one image.

    Attributes:
        number: by which its answer is known.
        seconds: how long the answer may take.
        shape: height and width of the float32 image that follows.
    """

    number: int
    model: Model
    anatomy: str | None
    rank: int
    seconds: float
    shape: tuple[int, int]


def send_beginning(connection: Connection[Any, Any], plan: Plan, model: Model) -> None:
    """What to join, and which bundle decides."""
    connection.send_bytes(json.dumps({"plan": asdict(plan), "model": asdict(model)}).encode())


def receive_beginning(connection: Connection[Any, Any]) -> tuple[Plan, Model]:
    """The same, from the other side."""
    content = json.loads(connection.recv_bytes(_LARGEST_HEADER))
    return Plan(**content["plan"]), Model(**content["model"])


def send_question(connection: Connection[Any, Any], question: Question, image: NDArray[np.float32]) -> None:
    """A question and its image, contiguous; one at a time.

    Raises:
        OSError: nobody listens any more.
    """
    connection.send_bytes(json.dumps(asdict(question)).encode())
    connection.send_bytes(image.data.cast("B"))


def receive_question(connection: Connection[Any, Any]) -> tuple[Question, NDArray[np.float32]]:
    """The same, from the other side.

    Raises:
        EOFError: there are no more.
    """
    content = json.loads(connection.recv_bytes(_LARGEST_HEADER))
    height, width = content["shape"]
    question = Question(**{**content, "model": Model(**content["model"]), "shape": (height, width)})
    pixels = connection.recv_bytes(height * width * _ITEMSIZE)
    return question, np.frombuffer(pixels, np.float32).reshape(height, width)


def send_answer(connection: Connection[Any, Any], number: int, answer: Answer) -> None:
    """What became of a question."""
    connection.send_bytes(json.dumps({"number": number, "answer": answer.plain()}).encode())


def send_standing(connection: Connection[Any, Any], standing: Standing) -> None:
    """Where the cluster stands now."""
    connection.send_bytes(json.dumps({"state": standing.state.value, "says": standing.says}).encode())


def receive_news(connection: Connection[Any, Any]) -> tuple[int, Answer] | Standing:
    """An answer with its number, or how the cluster stands.

    Raises:
        EOFError: there is no more.
        ValueError: it does not speak as agreed.
    """
    content = json.loads(connection.recv_bytes(_LARGEST_HEADER))
    if "state" in content:
        return Standing(State(content["state"]), str(content["says"]))
    return int(content["number"]), Answer.of(content["answer"])
