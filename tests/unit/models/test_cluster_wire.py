"""What goes between an agent and its process that speaks with Ray: several images a question, and what is none."""

import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from triage_agent.domain.study import ImageScore
from triage_agent.models.cluster import wire
from triage_agent.models.cluster.answer import Answer, Outcome, scored
from triage_agent.models.cluster.plan import Model
from triage_agent.models.cluster.wire import Question, Standing, State

MODEL = Model(ref="embedded", digest="a" * 64)
HEADER = {
    "number": 1,
    "model": {"ref": "embedded", "digest": "a"},
    "anatomies": ["XR_KNEE", None],
    "rank": 0,
    "seconds": 1.0,
    "shapes": [[1, 2], [2, 1]],
}
PIXELS = [b"\0" * 8, b"\0" * 8]


@pytest.fixture
def ends():
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        yield ours, theirs


def question(shapes, **how):
    anatomies = tuple("XR_KNEE" if number % 2 else None for number in range(len(shapes)))
    return Question(
        **{"number": 7, "model": MODEL, "anatomies": anatomies, "rank": 2, "seconds": 1.5, "shapes": shapes} | how
    )


def test_images_of_several_sizes_come_across_with_their_question(ends):
    images = [np.arange(height * width, dtype=np.float32).reshape(height, width) for height, width in [(3, 5), (2, 2)]]
    sent = question(((3, 5), (2, 2)))
    wire.send_question(ends[0], sent, images)
    received, pixels = wire.receive_question(ends[1])
    assert received == sent
    for mine, theirs in zip(images, pixels, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_largest_question_and_its_answer_come_across(ends):
    most = wire.MOST_IMAGES
    sent = question(((1, 1),) * most, anatomies=("\u00e4" * 64,) * most)
    with ThreadPoolExecutor(1) as sending:  # more than a socket holds
        sending.submit(wire.send_question, ends[0], sent, [np.zeros((1, 1), np.float32)] * most)
        assert wire.receive_question(ends[1])[0] == sent
    answers = [Answer(outcome=Outcome.AWAY, says="\u00e4" * 200)] * most
    with ThreadPoolExecutor(1) as sending:
        sending.submit(wire.send_answers, ends[1], 7, answers)
        assert wire.receive_news(ends[0]) == (7, answers)


def test_answers_come_back_one_an_image_and_so_does_the_standing(ends):
    answers = [scored(ImageScore(probability=0.5)), Answer(outcome=Outcome.FAILED, says="ValueError")]
    wire.send_answers(ends[1], 7, answers)
    wire.send_standing(ends[1], Standing(State.AWAY, "nobody there"))
    assert wire.receive_news(ends[0]) == (7, answers)
    assert wire.receive_news(ends[0]) == Standing(State.AWAY, "nobody there")


@pytest.mark.parametrize(
    "of_it",
    [
        {"shapes": ()},
        {"shapes": ((1, 1),), "anatomies": ()},
        {"shapes": ((1, 1),), "anatomies": (None, None)},
        {"shapes": ((0, 1),)},
        {"shapes": ((-1, -1),)},
        {"shapes": ((1, 1),) * (wire.MOST_IMAGES + 1)},
    ],
)
def test_a_question_that_disagrees_with_itself_cannot_be_made(of_it):
    with pytest.raises(ValueError):
        question(**{"shapes": ((1, 1),)} | of_it)


@pytest.mark.parametrize(
    "header",
    [
        HEADER | {"anatomies": [None]},
        HEADER | {"anatomies": [None] * 3},
        HEADER | {"anatomies": 2},
        HEADER | {"shapes": []},
        HEADER | {"shapes": [[1, 2]]},
        HEADER | {"shapes": [[1, 2], [2, 1, 1]]},
        HEADER | {"shapes": [[1, 2], [2, -1]]},
        HEADER | {"shapes": [[1, 2], [2, None]]},
        HEADER | {"shapes": [[1, 2], [2, 2]]},  # of which fewer pixels come
        HEADER | {"model": None},
        HEADER | {"more": 1},
        {"number": 1},
        [],
        None,
    ],
)
def test_a_header_that_does_not_agree_is_refused(ends, header):
    ends[0].send_bytes(json.dumps(header).encode())
    for pixels in PIXELS:
        ends[0].send_bytes(pixels)
    with pytest.raises(ValueError):
        wire.receive_question(ends[1])


def test_more_pixels_than_were_said_are_refused(ends):
    ends[0].send_bytes(json.dumps(HEADER).encode())
    for pixels in [PIXELS[0], PIXELS[1] * 2]:
        ends[0].send_bytes(pixels)
    with pytest.raises(OSError):
        wire.receive_question(ends[1])


@pytest.mark.parametrize("news", [[], None, {}, {"number": 1}, {"number": 1, "answers": None}, {"state": "won"}])
def test_news_that_are_none_are_refused(ends, news):
    ends[1].send_bytes(json.dumps(news).encode())
    with pytest.raises(ValueError):
        wire.receive_news(ends[0])
