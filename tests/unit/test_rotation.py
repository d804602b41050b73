"""Which test files run on which day: both halves together are all, and neither is nearly all."""

import pytest
from support import rotation


def files():
    return [path for folder in rotation.FOLDERS for path in sorted((rotation.TESTS / folder).rglob("test_*.py"))]


def test_every_file_is_in_one_half_or_in_both():
    for path in files():
        assert rotation.is_in(path, None)
        assert rotation.is_in(path, 0) or rotation.is_in(path, 1)


def test_the_halves_are_halves():
    numbers = [sum(rotation.is_in(path, which) for path in files()) for which in (0, 1)]
    assert min(numbers) > 0.35 * len(files())


def test_what_is_named_is_there():
    assert all((rotation.TESTS / name).is_file() for name in rotation.ALWAYS)


@pytest.mark.parametrize(("asked", "expected"), [("all", None), ("0", 0), ("1", 1)])
def test_a_half_is_asked_for(monkeypatch, asked, expected):
    monkeypatch.setenv("TRIAGE_HALF", asked)
    assert rotation.half() == expected
