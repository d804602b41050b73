"""What verifications of the audit log found, as the log itself says: also of other processes, and before a restart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from triage_agent.audit.verification import Report
from triage_agent.domain.audit import AuditQuestion, AuditRecord, AuditTrail
from triage_agent.domain.vocabulary import AuditAction

_MOST = 200  # verifications looked back at; behind them nothing counts as verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of one verification.

    Attributes:
        by: who had it done.
        whole: of the whole chain, and not of some days of it.
        anchors: with how many it was compared.
    """

    at: datetime
    by: str
    intact: bool
    whole: bool
    records: int
    wrong: int
    anchors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of the log.

    Attributes:
        broken: the last result that found something wrong, as long as it stands.
        whole: the last of the whole chain that found nothing wrong.
    """

    broken: Verified | None = None
    whole: Verified | None = None


def result_detail(report: Report, *, whole: bool) -> dict[str, object]:
    """What a record says of a verification that came to its end."""
    return {
        "command": "verify",
        "intact": report.intact,
        "wrong": report.wrong,
        "records": report.records,
        "first": report.first,
        "last": report.last,
        "anchors": report.anchors,
        "whole": whole,
    }


def standing(trail: AuditTrail) -> Standing:
    """What the last verifications found.

    Raises:
        WorklistUnavailableError: the database is away.
    """
    question = AuditQuestion(action=AuditAction.AUDIT_VERIFIED, limit=_MOST)
    return standing_of([found for record in trail.records(question) if (found := _result(record)) is not None])


def standing_of(results: Sequence[Verified]) -> Standing:
    """The same of results, newest first.

    A finding stands until the whole log is found intact, and compared with anchors where the finding was: a look at the
    last day says nothing of what was changed before it, and one without anchors nothing of a chain made anew.
    """
    intact = [one for one in results if one.intact and one.whole and one.records]
    broken = next((one for one in results if not one.intact), None)
    if broken is not None:
        over = any(one.at > broken.at and (one.anchors or not _anchored(results, broken)) for one in intact)
        broken = None if over else broken
    return Standing(broken=broken, whole=intact[0] if intact else None)


def _anchored(results: Sequence[Verified], broken: Verified) -> bool:
    """Whether this finding, or one before it that nothing has undone, was made with anchors."""
    for one in results[results.index(broken) :]:
        if one.intact and one.whole and one.records and one.anchors:
            return False
        if not one.intact and one.anchors:
            return True
    return False


def _result(record: AuditRecord) -> Verified | None:
    """None where it did not come to its end, or is not as the agent wrote it."""
    try:
        event = record.event
    except ValueError:
        return None
    detail = event.detail
    if not isinstance(detail.get("intact"), bool):
        return None
    return Verified(
        at=event.at.astimezone(UTC),
        by=event.actor,
        intact=detail["intact"] is True,
        whole=detail.get("whole") is True,
        records=_number(detail.get("records")),
        wrong=_number(detail.get("wrong")),
        anchors=_number(detail.get("anchors")),
    )


def _number(value: object) -> int:
    """Of what is written in a record; somebody may have written anything."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
