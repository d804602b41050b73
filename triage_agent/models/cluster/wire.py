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
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

MOST_IMAGES = 256  # of one question, and so its header, and that of its answer, are no longer than this:
_LARGEST_HEADER = 1 << 20  # bytes; an image has some hundreds
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
    """What is asked of some images, of which each gets an answer of its own.

    Attributes:
        number: by which the answers are known.
        anatomies: what the header of each says of the region.
        seconds: how long the answers may take.
        shapes: height and width of each of the float32 images that follow.

    Raises:
        ValueError: there are not as many of these as of those, or none, or more than `MOST_IMAGES`.
    """

    number: int
    model: Model
    anatomies: tuple[str | None, ...]
    rank: int
    seconds: float
    shapes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.shapes) <= MOST_IMAGES or len(self.anatomies) != len(self.shapes):
            raise ValueError(f"a question with {len(self.anatomies)} regions and {len(self.shapes)} images")
        if any(side < 1 for shape in self.shapes for side in shape):
            raise ValueError("an image without pixels")


def send_beginning(connection: Connection[Any, Any], plan: Plan, model: Model) -> None:
    """What to join, and which bundle decides."""
    connection.send_bytes(json.dumps({"plan": asdict(plan), "model": asdict(model)}).encode())


def receive_beginning(connection: Connection[Any, Any]) -> tuple[Plan, Model]:
    """The same, from the other side."""
    content = json.loads(connection.recv_bytes(_LARGEST_HEADER))
    return Plan(**content["plan"]), Model(**content["model"])


def send_question(connection: Connection[Any, Any], question: Question, images: Sequence[NDArray[np.float32]]) -> None:
    """A question and its images, contiguous; one question at a time.

    Raises:
        OSError: nobody listens any more.
    """
    connection.send_bytes(json.dumps(asdict(question)).encode())
    for image in images:
        connection.send_bytes(image.data.cast("B"))


def receive_question(connection: Connection[Any, Any]) -> tuple[Question, list[NDArray[np.float32]]]:
    """The same, from the other side.

    Raises:
        EOFError: there are no more.
        OSError: an image is larger than was said.
        ValueError: it does not speak as agreed.
    """
    try:
        question = _question(json.loads(connection.recv_bytes(_LARGEST_HEADER)))
    except (TypeError, KeyError) as error:
        raise ValueError("a question that is none") from error
    return question, [_receive_image(connection, *shape) for shape in question.shapes]


def _question(content: dict[str, Any]) -> Question:
    shapes = tuple((int(height), int(width)) for height, width in content["shapes"])
    of_it = {"model": Model(**content["model"]), "anatomies": tuple(content["anatomies"]), "shapes": shapes}
    return Question(**{**content, **of_it})


def _receive_image(connection: Connection[Any, Any], height: int, width: int) -> NDArray[np.float32]:
    pixels = connection.recv_bytes(height * width * _ITEMSIZE)
    return np.frombuffer(pixels, np.float32).reshape(height, width)


def send_answers(connection: Connection[Any, Any], number: int, answers: Sequence[Answer]) -> None:
    """What became of the images of a question, in order."""
    connection.send_bytes(json.dumps({"number": number, "answers": [one.plain() for one in answers]}).encode())


def send_standing(connection: Connection[Any, Any], standing: Standing) -> None:
    """Where the cluster stands now."""
    connection.send_bytes(json.dumps({"state": standing.state.value, "says": standing.says}).encode())


def receive_news(connection: Connection[Any, Any]) -> tuple[int, list[Answer]] | Standing:
    """The answers to a question, with its number, or how the cluster stands.

    Raises:
        EOFError: there is no more.
        ValueError: it does not speak as agreed.
    """
    content = json.loads(connection.recv_bytes(_LARGEST_HEADER))
    try:
        if "state" in content:
            return Standing(State(content["state"]), str(content["says"]))
        return int(content["number"]), [Answer.of(one) for one in content["answers"]]
    except (TypeError, KeyError) as error:
        raise ValueError("news that are none") from error
