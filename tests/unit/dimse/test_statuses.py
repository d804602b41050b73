import pytest

from triage_agent.dimse.statuses import Verdict, judge_store


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (Verdict.ACCEPTED, [0x0000, 0x0001, 0x0107, 0x0111, 0x0116, 0xB000, 0xB006, 0xB007, 0xBFFF]),
        (Verdict.TRY_AGAIN, [0xA700, 0xA701, 0xA7FF, 0x0110, 0x0124, 0x0213, 0xA800, 0xD000, 0xFE00, 0x1234]),
        (Verdict.PERMANENT, [0x0117, 0x0122, 0x0210, 0x0211, 0x0212, 0xA900, 0xA9FF, 0xC000, 0xC211, 0xCFFF]),
    ],
)
def test_a_peers_answer_says_what_to_do(verdict, statuses):
    assert {judge_store(status) for status in statuses} == {verdict}


def test_every_status_there_can_be_has_a_verdict():
    assert {judge_store(status) for status in range(0x10000)} == set(Verdict)
