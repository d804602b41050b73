"""What a shadow bundle says, beside the decisions; nothing here touches a priority or a status."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from triage_agent.domain.decision import Comparison, ShadowResult
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import Finding, Outcome
from triage_agent.worklist import trail
from triage_agent.worklist.rows import append_audit, locked_study
from triage_agent.worklist.tables import DecisionRow, InstanceRow
from triage_agent.worklist.transactions import changed

_SHORT_DIGEST = 12  # as `ModelIdentity.label`


def record_shadow(
    session: Session,
    study_instance_uid: str,
    revision: int,
    result: ShadowResult,
    assessments: Sequence[Assessment],
    now: datetime,
) -> bool:
    """See `Worklist.record_shadow`."""
    locked_study(session, study_instance_uid)  # the first row that every writer locks
    kept = (
        update(DecisionRow)
        .where(
            DecisionRow.study_instance_uid == study_instance_uid,
            DecisionRow.revision == revision,
            DecisionRow.probability.is_not(None),
            DecisionRow.shadow.is_(None),
        )
        .values(shadow=asdict(result))
        .execution_options(synchronize_session=False)
    )
    if changed(session, kept) != 1:
        return False
    for assessment in sorted(assessments, key=lambda each: each.sop_instance_uid):  # one order of locks for all
        _write_shadow(session, study_instance_uid, assessment)
    append_audit(session, trail.shadow_compared(study_instance_uid, revision, result, now))
    return True


def comparisons(session: Session, since: datetime) -> Sequence[Comparison]:
    """See `Worklist.comparisons`; the index `ix_decisions_shadow` has this order."""
    row = DecisionRow
    statement = (
        select(
            row.study_instance_uid, row.revision, row.anatomy, row.decided_at, row.probability, row.model, row.shadow
        )
        .where(row.shadow.is_not(None), row.decided_at >= since)
        .order_by(row.decided_at, row.study_instance_uid, row.revision)
    )
    last: dict[str, Comparison] = {}
    for uid, revision, anatomy, decided_at, probability, model, shadow in session.execute(statement):
        if uid in last and last[uid].revision > revision:  # a clock was set back in between
            continue
        last.pop(uid, None)  # so that the later revision stands at its own time
        last[uid] = Comparison(
            study_instance_uid=uid,
            revision=revision,
            anatomy=anatomy,
            decided_at=decided_at,
            bundle=f"{model['name']} {model['version']} ({model['digest'][:_SHORT_DIGEST]})",
            probability=probability,
            shadow=_result(shadow),
        )
    return list(last.values())


def last_shadow(session: Session, study_instance_uid: str) -> ShadowResult | None:
    """What the shadow bundle says of a study's last decision."""
    statement = (
        select(DecisionRow.shadow)
        .where(DecisionRow.study_instance_uid == study_instance_uid)
        .order_by(DecisionRow.revision.desc())
        .limit(1)
    )
    stored = session.scalar(statement)
    return None if stored is None else _result(stored)


def _result(stored: dict[str, Any]) -> ShadowResult:
    return ShadowResult(**{**stored, "finding": Finding(stored["finding"])})


def _write_shadow(session: Session, study_instance_uid: str, assessment: Assessment) -> None:
    """Only where the image is scored as it was when the shadow looked: a retry may have begun it afresh."""
    statement = (
        update(InstanceRow)
        .where(
            InstanceRow.sop_instance_uid == assessment.sop_instance_uid,
            InstanceRow.study_instance_uid == study_instance_uid,
            InstanceRow.outcome == Outcome.SCORED,
            InstanceRow.bundle_digest == assessment.bundle_digest,
        )
        .values(shadow_probability=assessment.shadow_probability, shadow_digest=assessment.shadow_digest)
        .execution_options(synchronize_session=False)
    )
    session.execute(statement)
