"""Deadlines that were set before the clock was set back are brought near."""

from datetime import datetime

from sqlalchemy import Update, and_, or_, update
from sqlalchemy.orm import Session

from triage_agent.domain.commitment import AnswerState
from triage_agent.domain.notice import NoticeState
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.vocabulary import DeliveryState, Status
from triage_agent.domain.waits import LongestWaits
from triage_agent.worklist.notice_rows import NoticeRow
from triage_agent.worklist.retrieval_row import RetrievalRow
from triage_agent.worklist.rows import status_is, word_is
from triage_agent.worklist.tables import CommitmentRequestRow, InstanceRow, OutboxRow, StudyRow
from triage_agent.worklist.transactions import changed
from triage_agent.worklist.workitem_rows import ReportRow


def bring_deadlines_near(session: Session, now: datetime, longest: LongestWaits) -> int:
    """See `Worklist.bring_deadlines_near`."""
    far = (*_held(now, longest), *_to_send(now, longest), *_to_commit(now, longest), *_to_fetch(now, longest))
    far += _to_tell(now, longest)
    return sum(changed(session, one.execution_options(synchronize_session=False)) for one in far)


def _held(now: datetime, longest: LongestWaits) -> tuple[Update, ...]:
    latest = now + longest.lease
    held = (
        (StudyRow, status_is(Status.SCORING)),
        (InstanceRow, InstanceRow.lease_owner.is_not(None)),
        (OutboxRow, word_is(OutboxRow.state, DeliveryState.SENDING)),
        (RetrievalRow, RetrievalRow.lease_owner.is_not(None)),
    )
    return tuple(update(row).where(which, row.lease_until > latest).values(lease_until=latest) for row, which in held)


def _to_send(now: datetime, longest: LongestWaits) -> tuple[Update, ...]:
    row = OutboxRow
    untried = and_(row.attempts == 0, row.next_attempt_at > now)
    pending = word_is(row.state, DeliveryState.PENDING)
    far = or_(row.next_attempt_at > now + longest.sending, untried)
    return (update(row).where(pending, row.next_attempt_at > now, far).values(next_attempt_at=now),)


def _to_commit(now: datetime, longest: LongestWaits) -> tuple[Update, ...]:
    """What destinations are asked, and what peers are told; the first time there is nothing to wait for."""
    row, sent = CommitmentRequestRow, OutboxRow.commit_at.is_not(None)
    waiting = word_is(row.state, AnswerState.WAITING)
    told, asked = now + longest.replying, now + longest.asking
    new = update(row).where(waiting, row.attempts == 0, row.next_attempt_at > now + longest.lease)
    unasked = update(OutboxRow).where(sent, OutboxRow.commit_asks == 0, OutboxRow.commit_at > now)
    return (
        new.values(next_attempt_at=now),
        update(row).where(waiting, row.next_attempt_at > told).values(next_attempt_at=told),
        unasked.values(commit_at=now),
        update(OutboxRow).where(sent, OutboxRow.commit_at > asked).values(commit_at=asked),
    )


def _to_tell(now: datetime, longest: LongestWaits) -> tuple[Update, ...]:
    """Subscribers to workitems, and who has notices; the first time there is nothing to wait for.

    But a report that is told after others is held with them, before it is tried.
    """
    latest = now + longest.replying
    told = (
        (ReportRow, word_is(ReportRow.state, AnswerState.WAITING), now + longest.telling),
        (NoticeRow, word_is(NoticeRow.state, NoticeState.WAITING), now),
    )
    return tuple(
        update(row)
        .where(waiting, or_(and_(row.attempts == 0, row.next_attempt_at > first), row.next_attempt_at > latest))
        .values(next_attempt_at=now)
        for row, waiting, first in told
    )


def _to_fetch(now: datetime, longest: LongestWaits) -> tuple[Update, ...]:
    row, latest = RetrievalRow, now + longest.fetching
    waiting = word_is(row.state, RetrievalState.WAITING)
    untried = and_(row.attempts == 0, row.next_attempt_at > now)
    held = and_(row.lease_owner.is_not(None), row.next_attempt_at > latest)  # its lease says when it is free
    at_once = update(row).where(waiting, row.next_attempt_at > now, or_(untried, held))
    again = update(row).where(waiting, row.next_attempt_at > latest)
    return (at_once.values(next_attempt_at=now), again.values(next_attempt_at=latest))
