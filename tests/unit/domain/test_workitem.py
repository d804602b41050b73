"""A workitem's states (PS3.4 table CC.1.1-2), every one against every wish."""

import pytest

from triage_agent.domain.uids import is_uid
from triage_agent.domain.workitem import StepState, Verdict, judge_change, judge_update, meets_final_state, workitem_uid

SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = StepState
MINE, THEIRS = "2.25.1", "2.25.2"
TABLE = {  # wanted: statuses in the four states, with the Transaction UID of who claimed it
    SCHEDULED: (0xC303, 0xC303, 0xC303, 0xC303),
    IN_PROGRESS: (0x0000, 0xC302, 0xC300, 0xC300),
    COMPLETED: (0xC310, 0x0000, 0xB306, 0xC300),
    CANCELED: (0xC310, 0x0000, 0xC300, 0xB304),
}
CASES = [(state, wanted, status) for wanted, row in TABLE.items() for state, status in zip(StepState, row, strict=True)]


@pytest.mark.parametrize(("state", "wanted", "status"), CASES)
def test_a_state_changes_as_the_table_says(state, wanted, status):
    assert judge_change(state, wanted, transaction=MINE, given=MINE, is_finished=True) == status


@pytest.mark.parametrize(("state", "wanted"), [(state, wanted) for state, wanted, _ in CASES if wanted != SCHEDULED])
def test_without_a_transaction_uid_nothing_changes(state, wanted):
    assert judge_change(state, wanted, transaction=MINE, given="", is_finished=True) == 0xC301


@pytest.mark.parametrize("state", [IN_PROGRESS, COMPLETED, CANCELED])
@pytest.mark.parametrize("wanted", [COMPLETED, CANCELED])
def test_with_anothers_transaction_uid_nothing_ends(state, wanted):
    assert judge_change(state, wanted, transaction=MINE, given=THEIRS, is_finished=True) == 0xC301


@pytest.mark.parametrize("wanted", [COMPLETED, CANCELED])
def test_nothing_ends_before_it_is_finished(wanted):
    assert judge_change(IN_PROGRESS, wanted, transaction=MINE, given=MINE, is_finished=False) == 0xC304


@pytest.mark.parametrize(
    ("state", "given", "verdict"),
    [
        (SCHEDULED, "", Verdict.DONE),
        (SCHEDULED, MINE, Verdict.NOT_IN_PROGRESS),
        (IN_PROGRESS, MINE, Verdict.DONE),
        (IN_PROGRESS, THEIRS, Verdict.WRONG_TRANSACTION),
        (IN_PROGRESS, "", Verdict.WRONG_TRANSACTION),
        (COMPLETED, MINE, Verdict.NO_LONGER_UPDATED),
        (CANCELED, "", Verdict.NO_LONGER_UPDATED),
    ],
)
def test_attributes_are_set_by_who_may(state, given, verdict):
    assert judge_update(state, transaction=MINE, given=given) is verdict


@pytest.mark.parametrize("attributes", [{}, {"00741216": None}, {"00741216": {"vr": "SQ", "Value": ["nonsense"]}}])
def test_what_says_nothing_is_not_finished(attributes):
    assert not meets_final_state(attributes, COMPLETED)
    assert not meets_final_state(attributes, CANCELED)


def test_each_generation_has_a_uid_of_its_own_and_always_the_same():
    uids = [workitem_uid("1.2.3"), workitem_uid("1.2.3", 2), workitem_uid("1.2.4")]
    assert len(set(uids)) == 3
    assert all(map(is_uid, uids))
    assert uids[0] == workitem_uid("1.2.3", 1)
