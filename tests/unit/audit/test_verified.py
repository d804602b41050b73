"""What is known of the log follows from the results of verifications, newest first."""

from datetime import UTC, datetime, timedelta

import pytest

from triage_agent.audit.verified import Verified, standing_of

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def results(*said):
    """Newest first, a letter each of: i(ntact) or b(roken), w(hole) or p(art), a(nchors) or -, and its records."""
    return [
        Verified(
            at=NOW - timedelta(minutes=place),
            by="dr.lee",
            intact=one[0] == "i",
            whole=one[1] == "w",
            anchors=int(one[2] == "a"),
            records=int(one[3:] or 9),
            wrong=int(one[0] == "b"),
        )
        for place, one in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("said", "broken", "whole"),
    [
        ((), None, None),
        (("iw-",), None, 0),
        (("ip-",), None, None),  # of a part nothing follows for the rest
        (("iw-0",), None, None),  # nothing was looked at
        (("bw-",), 0, None),
        (("bp-", "iw-"), 0, 1),
        (("ip-", "bw-"), 1, None),
        (("iw-", "bw-"), None, 0),
        (("iw-", "bwa"), 1, 0),  # made anew, which nothing but anchors finds
        (("iwa", "bwa"), None, 0),
        (("iw-", "bw-", "bwa"), 1, 0),
        (("iw-", "bw-", "iwa", "bwa"), None, 0),
        (("bw-", "iwa"), 0, 1),
    ],
)
def test_a_finding_stands_until_the_whole_log_is_found_intact(said, broken, whole):
    given = results(*said)
    found = standing_of(given)
    assert (found.broken, found.whole) == (
        None if broken is None else given[broken],
        None if whole is None else given[whole],
    )
