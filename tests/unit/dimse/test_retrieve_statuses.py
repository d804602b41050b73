"""What the last answer to a C-MOVE or C-GET means."""

import pytest

from triage_agent.dimse.retrieve_statuses import judge_retrieve
from triage_agent.domain.retrieval import SubOperations

NONE = SubOperations()


@pytest.mark.parametrize(
    ("status", "permanent", "says"),
    [
        (0xA801, True, "C-MOVE answered 0xA801 (it does not know us as a move destination)"),
        (0x0122, True, "C-MOVE answered 0x0122"),
        (0xA701, False, "C-MOVE answered 0xA701 (it is out of resources to count matches)"),
        (0xA702, False, "C-MOVE answered 0xA702 (it is out of resources to send)"),
        (0xA900, False, "C-MOVE answered 0xA900"),
        (0xB000, False, "C-MOVE answered 0xB000 (some sub-operations failed)"),
        (0xC001, False, "C-MOVE answered 0xC001"),
        (0xFE00, False, "C-MOVE answered 0xFE00 (cancelled)"),
        (None, False, "C-MOVE ended without an answer"),
    ],
)
def test_every_failure_says_whether_to_ask_again(status, permanent, says):
    error = judge_retrieve("C-MOVE", status, NONE, "make us known")
    assert (error.permanent, error.message) == (permanent, says)
    assert bool(error.remedy) == (status == 0xA801)


def test_success_is_success_unless_the_counts_say_otherwise():
    assert judge_retrieve("C-GET", 0x0000, SubOperations(completed=3), "") is None
    error = judge_retrieve("C-GET", 0x0000, SubOperations(completed=3, failed=2), "")
    assert (error.permanent, error.message) == (False, "C-GET: 2 sub-operations failed")
