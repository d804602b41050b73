"""When the chain is anchored."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.audit.anchors import open_signer
from triage_agent.audit.keeping import Anchorer
from triage_agent.domain.audit_log import Head

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVERY = timedelta(minutes=10)


class Log:
    """A chain of a given length, and the cursor of what is anchored."""

    def __init__(self):
        self.position, self.anchored, self.held = 10, 0, False

    def head(self):
        return Head(position=self.position, head="a" * 64, floor=self.position)

    def claim_cursor(self, *_):
        return None if self.held else self.anchored

    def move_cursor(self, name, owner, position, *_):
        self.anchored = position

    def release_cursor(self, *_):
        pass


@pytest.fixture
def made(tmp_path):
    log, records, clock = Log(), [], [NOW]
    anchorer = Anchorer(
        log,
        signer=open_signer(tmp_path / "key", make=True),
        anchors=tmp_path / "anchors",
        every=EVERY,
        record=records.append,
        actor="me",
        clock=lambda: clock[0],
    )
    return anchorer, log, records, clock


def test_the_chain_is_anchored_every_so_often_and_only_where_it_grew(made):
    anchorer, log, records, clock = made
    anchorer.step()
    log.position = 11  # the anchor's own record
    for minutes, grown, anchors in ((5, 0, 1), (11, 0, 1), (15, 3, 1), (22, 0, 2)):
        clock[0], log.position = NOW + timedelta(minutes=minutes), log.position + grown
        anchorer.step()
        assert len(records) == anchors, minutes


def test_a_clock_that_is_set_back_does_not_put_anchors_off(made):
    anchorer, log, records, clock = made
    anchorer.step()
    clock[0], log.position = NOW - timedelta(days=1), 20
    anchorer.step()
    assert len(records) == 2


def test_what_another_process_anchors_is_left_to_it(made):
    anchorer, log, records, _ = made
    log.held = True
    anchorer.step()
    assert records == []
