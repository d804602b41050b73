"""Frames come out of a stream whole, however it is cut, and none is longer than what is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_agent.hl7in.framing import Framer, TooLongError

LONGEST = 64
BODIES = st.lists(st.binary(max_size=LONGEST).map(lambda body: body.translate(None, b"\x0b\x1c")), max_size=5)


def framed(*bodies):
    return b"".join(b"\x0b" + body + b"\x1c\r" for body in bodies)


def fed(chunks, longest=LONGEST):
    framer = Framer(longest)
    return [message for chunk in chunks for message in framer.feed(chunk)]


@given(BODIES, st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_messages_are_the_same_however_the_stream_is_cut(bodies, sizes):
    stream, chunks, at = framed(*bodies), [], 0
    while at < len(stream):
        size = sizes[len(chunks) % len(sizes)]
        chunks.append(stream[at : at + size])
        at += size
    assert fed(chunks) == bodies


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_whatever_comes_no_more_is_kept_than_one_message(chunks):
    framer = Framer(LONGEST)
    for chunk in chunks:
        try:
            assert all(len(message) <= LONGEST for message in framer.feed(chunk))
        except TooLongError:
            return
        assert len(framer._kept) <= LONGEST


def test_noise_between_messages_and_a_missing_carriage_return_are_passed_over():
    assert fed([b"noise\r\n" + framed(b"one") + b"\r\n", b"\x0btwo\x1c\x0bthree\x1c\r"]) == [b"one", b"two", b"three"]


def test_a_new_start_begins_the_message_anew():
    assert fed([b"\x0bbroken off", b"\x0bwhole\x1c\r"]) == [b"whole"]


def test_a_message_that_is_too_long_is_told_of_with_its_beginning():
    with pytest.raises(TooLongError) as raised:
        fed([b"\x0bMSH" + b"x" * 40, b"y" * 40])
    assert raised.value.beginning.startswith(b"MSHxxx")


def test_noise_without_end_is_told_of_too():
    with pytest.raises(TooLongError):
        fed([b"GET / HTTP/1.1\r\n" * 10])
