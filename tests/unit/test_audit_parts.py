"""What the pages of the audit log are made of, from the settings."""

from datetime import UTC, datetime

import pytest

from triage_agent.audit.anchors import append, open_signer
from triage_agent.audit_parts import anchor_key, anchors_file, build_audit_parts, own_anchors
from triage_agent.domain.audit_log import Head
from triage_agent.domain.errors import TriageError, WorklistUnavailableError
from triage_agent.settings import Settings
from triage_agent.worklist import MemoryWorklist

HEAD = Head(position=3, head="a" * 64, floor=3)


def test_own_anchors_are_those_that_the_own_key_signed(tmp_path):
    settings = Settings(data_dir=tmp_path)
    assert own_anchors(settings) == ()
    signer = open_signer(anchor_key(settings), make=True)
    append(anchors_file(settings), signer.sign(HEAD, datetime.now(UTC)))
    assert [one.position for one in own_anchors(settings)] == [3]
    stranger = open_signer(tmp_path / "stranger.key", make=True)
    append(anchors_file(settings), stranger.sign(HEAD, datetime.now(UTC)))
    with pytest.raises(TriageError, match="line 2"):
        own_anchors(settings)
    anchor_key(settings).with_suffix(".pub").unlink()
    assert own_anchors(settings) == ()


def test_a_worklist_in_memory_has_no_console():
    with pytest.raises(WorklistUnavailableError):
        build_audit_parts(Settings(), MemoryWorklist())
