from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import postgresql, sqlite

from triage_agent.domain.vocabulary import Priority
from triage_agent.worklist.types import FittedText, RankedPriority, UtcDateTime

NOON_IN_BERLIN = datetime(2026, 7, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
DIALECTS = pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=["sqlite", "postgres"])


@DIALECTS
def test_a_time_goes_in_aware_and_comes_out_in_utc(dialect):
    column = UtcDateTime()
    back = column.process_result_value(column.process_bind_param(NOON_IN_BERLIN, dialect), dialect)
    assert back == NOON_IN_BERLIN
    assert back.tzinfo is UTC


@DIALECTS
def test_a_time_without_a_zone_is_refused(dialect):
    with pytest.raises(ValueError, match="without a zone"):
        UtcDateTime().process_bind_param(datetime(2026, 7, 1), dialect)  # noqa: DTZ001, the case


@DIALECTS
@pytest.mark.parametrize("column", [UtcDateTime(), RankedPriority()])
def test_nothing_stays_nothing(column, dialect):
    assert column.process_bind_param(None, dialect) is None
    assert column.process_result_value(None, dialect) is None


@DIALECTS
def test_no_text_stays_no_text(dialect):
    assert FittedText(3).process_bind_param(None, dialect) is None


@DIALECTS
@pytest.mark.parametrize("priority", Priority)
def test_a_priority_lies_as_its_rank(priority, dialect):
    column = RankedPriority()
    assert column.process_bind_param(priority, dialect) == priority.rank
    assert column.process_result_value(priority.rank, dialect) is priority


@DIALECTS
@pytest.mark.parametrize(
    ("given", "kept"), [("", ""), ("abc", "abc"), ("abcd", "abc"), ("a\x00b", "ab"), ("\ud800b", "?b"), ("äöüß", "äöü")]
)
def test_text_is_cut_to_what_the_column_takes(given, kept, dialect):
    assert FittedText(3).process_bind_param(given, dialect) == kept
