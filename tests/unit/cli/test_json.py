"""Everything a command prints for a person it prints for a program, too."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from triage_agent.cli.options import jsonable, print_json
from triage_agent.domain.vocabulary import Priority


@dataclass
class Thing:
    name: str
    inner: object = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (0.5, 0.5),
        ("text", "text"),
        (Priority.STAT, "stat"),
        (Path("/a/b"), "/a/b"),
        (datetime(2026, 3, 1, 9, 30, tzinfo=UTC), "2026-03-01T09:30:00+00:00"),
        ((1, Priority.URGENT), [1, "urgent"]),
        ({Priority.STAT: 1}, {"stat": 1}),
        (Thing("a", Thing("b")), {"name": "a", "inner": {"name": "b", "inner": None}}),
        ([Thing("a")], [{"name": "a", "inner": None}]),
    ],
)
def test_every_value_of_the_domain_has_its_json(value, expected):
    assert jsonable(value) == expected


def test_what_is_printed_is_one_document_with_its_letters_as_they_are(capsys):
    print_json([{"patient_name": "Åkesson^Eva"}])
    out = capsys.readouterr().out
    assert json.loads(out) == [{"patient_name": "Åkesson^Eva"}]
    assert "Åkesson" in out
