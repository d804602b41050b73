"""What goes between an agent and the process that has its model: JSON, and pixels as they lie in memory.

Nothing is pickled. Messages are framed by `multiprocessing.connection`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from triage_agent.domain.decision import ModelIdentity, UncertaintyBand
from triage_agent.domain.study import ImageScore
from triage_agent.models.runner import Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

_REMARKS = "remarks"
_LARGEST = 8 << 20  # bytes of JSON; a question has some hundreds
_ITEMSIZE = 4  # bytes of a float32

Remark = dict[str, str | int | float]
"""An event of the process's log, with its level."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the process says of its model when it is loaded; `device` and `side` are attributes of its scorer."""

    identity: ModelIdentity
    device: str
    side: int | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong: the name of the exception, what it said where that is ours to pass on, the remedy, and where."""

    kind: str
    message: str = ""
    remedy: str = ""
    frames: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Images to be scored, with the regions that their headers state, and how urgent they are (`Priority.rank`)."""

    images: Sequence[NDArray[np.float32]]
    anatomies: Sequence[str | None]
    rank: int


def send_beginning(connection: Connection[Any, Any], ref: str, placement: Placement) -> None:
    """Which bundle to load, and how it runs."""
    _send(connection, {"ref": ref, "placement": asdict(placement)})


def receive_beginning(connection: Connection[Any, Any]) -> tuple[str, Placement]:
    """The same, from the other side."""
    content = _receive(connection)
    return content["ref"], Placement(**content["placement"])


def send_hello(connection: Connection[Any, Any], hello: Hello | Trouble, remarks: Sequence[Remark] = ()) -> None:
    """That it is loaded, or cannot be; and what was logged meanwhile."""
    _send(connection, {type(hello).__name__: asdict(hello), _REMARKS: list(remarks)})


def receive_hello(connection: Connection[Any, Any], hear: Callable[[Remark], None]) -> Hello | Trouble:
    """The same, from the other side, after each remark was heard.

    Raises:
        EOFError: the process has ended.
        ValueError: it does not speak as agreed.
    """
    content = _receive(connection)
    try:
        if (trouble := _told(content, hear)) is not None:
            return trouble
        said = content[Hello.__name__]
        identity = said["identity"]
        bands = {region: UncertaintyBand(**band) for region, band in identity["bands"].items()}
        identity |= {"anatomies": tuple(identity["anatomies"]), "bands": bands}
        return Hello(ModelIdentity(**identity), said["device"], said["side"])
    except (KeyError, TypeError) as error:
        raise ValueError("a greeting that is none") from error


def send_question(connection: Connection[Any, Any], question: Question) -> None:
    """A question with its images; one at a time.

    Raises:
        OSError: nobody listens any more.
    """
    shapes = [image.shape for image in question.images]
    _send(connection, {"shapes": shapes, "anatomies": list(question.anatomies), "rank": question.rank})
    for image in question.images:
        connection.send_bytes(np.ascontiguousarray(image, dtype=np.float32).data.cast("B"))


def receive_question(connection: Connection[Any, Any]) -> Question:
    """The same, from the other side.

    Raises:
        EOFError: there are no more.
    """
    content = _receive(connection)
    images = []
    for height, width in content["shapes"]:
        pixels = connection.recv_bytes(height * width * _ITEMSIZE)
        images.append(np.frombuffer(pixels, np.float32).reshape(height, width))
    return Question(images, content["anatomies"], content["rank"])


def send_answer(
    connection: Connection[Any, Any], answer: Sequence[ImageScore] | Trouble, remarks: Sequence[Remark] = ()
) -> None:
    """A score for each image, or why there are none; and what was logged meanwhile."""
    content: dict[str, Any] = {_REMARKS: list(remarks)}
    if isinstance(answer, Trouble):
        content[Trouble.__name__] = asdict(answer)
    else:
        content["scores"] = [[one.probability, one.seen_anatomy, one.strangeness] for one in answer]
    _send(connection, content)


def receive_answer(connection: Connection[Any, Any], hear: Callable[[Remark], None]) -> list[ImageScore] | Trouble:
    """The same, from the other side, after each remark was heard.

    Raises:
        EOFError: the process has ended.
        ValueError: it does not speak as agreed.
    """
    content = _receive(connection)
    try:
        if (trouble := _told(content, hear)) is not None:
            return trouble
        return [
            ImageScore(probability=probability, seen_anatomy=seen, strangeness=strangeness)
            for probability, seen, strangeness in content["scores"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError("an answer that is none") from error


def _told(content: dict[str, Any], hear: Callable[[Remark], None]) -> Trouble | None:
    """What comes with every word of the process: its remarks, and the trouble where it has some."""
    for remark in content[_REMARKS]:
        hear(remark)
    return Trouble(**content[Trouble.__name__]) if Trouble.__name__ in content else None


def _send(connection: Connection[Any, Any], content: object) -> None:
    connection.send_bytes(json.dumps(content).encode())


def _receive(connection: Connection[Any, Any]) -> dict[str, Any]:
    content = json.loads(connection.recv_bytes(_LARGEST))
    if not isinstance(content, dict):
        raise ValueError("a message that is none")  # noqa: TRY004 - of what came, not of who called
    return content
