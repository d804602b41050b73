"""Which test files run on which day: all parts together are all, and none is nearly all."""

import pytest
from support import rotation


def files():
    return [path for folder in rotation.FOLDERS for path in sorted((rotation.TESTS / folder).rglob("test_*.py"))]


def test_every_file_is_in_one_part_or_in_all():
    for path in files():
        assert rotation.is_in(path, None)
        assert sum(rotation.is_in(path, which) for which in range(rotation.PARTS)) in {1, rotation.PARTS}


def test_no_part_is_much_smaller_than_another():
    numbers = [sum(rotation.is_in(path, which) for path in files()) for which in range(rotation.PARTS)]
    assert min(numbers) > 0.25 * len(files())


def test_what_is_named_is_there():
    assert all((rotation.TESTS / name).is_file() for name in rotation.ALWAYS)


@pytest.mark.parametrize(("asked", "expected"), [("all", None), ("0", 0), ("2", 2)])
def test_a_part_is_asked_for(monkeypatch, asked, expected):
    monkeypatch.setenv("TRIAGE_PART", asked)
    assert rotation.part() == expected
