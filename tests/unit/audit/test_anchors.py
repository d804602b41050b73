"""Anchors in their file: what a power loss or a full disk leaves of one costs no other."""

from datetime import UTC, datetime

import pytest

from triage_agent.audit.anchors import append, load_public_key, open_signer, read_anchors
from triage_agent.domain.audit_log import Head
from triage_agent.domain.errors import TriageError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path):
    """A file with two anchors, how to add one, and how to read them."""
    signer = open_signer(tmp_path / "anchor.key", make=True)
    public = load_public_key(tmp_path / "anchor.pub")
    path = tmp_path / "anchors"

    def add(position):
        append(path, signer.sign(Head(position=position, head="a" * 64, floor=position), NOW))

    add(1)
    add(2)
    return path, add, lambda: [one.position for one in read_anchors(path, public)]


@pytest.mark.parametrize("left", [1, 20, 200])
def test_half_a_line_at_the_end_is_no_anchor_and_harms_none_that_follows(kept, left):
    path, add, positions = kept
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:left])
    assert positions() == [1, 2]
    add(3)
    assert positions() == [1, 2, 3]
    assert path.read_bytes().startswith(whole)


def test_a_whole_anchor_whose_line_has_no_end_stays(kept):
    path, add, positions = kept
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert positions() == [1, 2]
    add(3)
    assert positions() == [1, 2, 3]


@pytest.mark.parametrize("line", [b"{\n", b"{" + b"x" * 5000 + b"\n", b"{" + b"x" * 5000])
def test_what_is_no_anchor_and_more_than_half_a_line_is_told(kept, line):
    path, _, positions = kept
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(TriageError, match="line 1: this is no anchor"):
        positions()
