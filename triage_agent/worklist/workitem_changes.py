"""What becomes of a study becomes of its workitem: told to who subscribed, and begun anew where more is to be read."""

from datetime import datetime

from sqlalchemy import Integer, bindparam, select, text
from sqlalchemy.orm import Session

from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import Attributes, ReportType, StepState, workitem_uid
from triage_agent.worklist.statements import OF, is_asked, put, update_where
from triage_agent.worklist.tables import StudyRow
from triage_agent.worklist.workitem_reports import (
    priority_of,
    progress_report,
    put_down,
    readiness_of,
    state_report,
)
from triage_agent.worklist.workitem_rows import WorkitemRow


def any_stale(session: Session) -> bool:
    """Whether there is something for `tell_changes`."""
    return session.scalar(_ANY_STALE[_dialect(session)]) is not None


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name


# As the partial index has it: by other words for the same the whole table would be read.
_MARKED = {"postgresql": text("workitems.stale"), "sqlite": text("workitems.stale = 1")}
_ANY_STALE = {name: select(WorkitemRow.uid).where(marked).limit(1) for name, marked in _MARKED.items()}
_STALE = {
    name: select(WorkitemRow)
    .where(marked)
    .order_by(WorkitemRow.modified_at, WorkitemRow.uid)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
    .execution_options(populate_existing=True)
    for name, marked in _MARKED.items()
}
_THEIR_STUDIES = select(StudyRow).where(StudyRow.study_instance_uid.in_(bindparam("those", expanding=True)))
_TELL = update_where(WorkitemRow, uid=OF)


def tell_changes(session: Session, now: datetime, limit: int) -> int:
    """See `Workitems.tell_changes`; what a trigger marks while this looks is marked again after it."""
    items = session.scalars(_STALE[_dialect(session)], {"most": limit}).all()
    theirs = {"those": [item.study_instance_uid for item in items]}
    # Read when the workitems are held: what changes afterwards marks them again.
    studies = {study.study_instance_uid: study for study in session.scalars(_THEIR_STUDIES, theirs)} if items else {}
    for item in items:
        study = studies.get(item.study_instance_uid or "")
        if item.state.is_final:
            session.execute(_TELL, {OF: item.uid, "stale": False})
            _begin_anew(session, item, study, now)
            continue
        put_down(session, item, study, _news(item, study), now)
        told = {"told_priority": priority_of(item, study), "told_readiness": readiness_of(study).value}
        session.execute(_TELL, {OF: item.uid, "stale": False, "modified_at": now, **told})
    return len(items)


def _news(item: WorkitemRow, study: StudyRow | None) -> list[tuple[ReportType, Attributes]]:
    """What has changed since it was told of last."""
    news: list[tuple[ReportType, Attributes]] = []
    if item.told_readiness != readiness_of(study):
        news.append((ReportType.STATE, state_report(item, study)))
    before, after = item.told_priority, priority_of(item, study)
    if before is not None and before is not after:
        news.append((ReportType.PROGRESS, progress_report(before, after)))
    return news


def _begin_anew(session: Session, item: WorkitemRow, study: StudyRow | None, now: datetime) -> None:
    """Images that came after a study was read are to be read, too: an ended workitem can never be opened again."""
    if study is None or study.revision <= item.revision:
        return
    session.execute(_TELL, {OF: item.uid, "latest": False})
    insert_workitem(session, study.study_instance_uid, item.generation + 1, study.revision, study.priority, now)


_TAKEN = select(WorkitemRow.uid).where(is_asked(WorkitemRow.uid))


def insert_workitem(
    session: Session, study_instance_uid: str, generation: int, revision: int, priority: Priority, now: datetime
) -> None:
    """Make a study's workitem that nobody has been told of; a raise from `priority` on will be.

    A peer may have posted one under its UID (another agent derives the same): then it is the next that is free, since
    neither the peer's is ours to change nor may a study be refused for it.
    """
    while session.scalar(_TAKEN, {OF: workitem_uid(study_instance_uid, generation)}) is not None:
        generation += 1
    values = {
        "uid": workitem_uid(study_instance_uid, generation),
        "study_instance_uid": study_instance_uid,
        "generation": generation,
        "latest": True,
        "revision": revision,
        "state": StepState.SCHEDULED,
        "attributes": {},
        "created_at": now,
        "modified_at": now,
        "stale": True,
        "told_priority": priority,
    }
    put(session, WorkitemRow, values)
