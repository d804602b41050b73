"""Received instances take their place on the worklist, and complete studies move on."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Integer, bindparam, or_, select, update
from sqlalchemy.orm import Session

from triage_agent.domain.ports import Registered
from triage_agent.domain.retrieval import RetrievalRecord, RetrievalState
from triage_agent.domain.states import BEGINNINGS, opens_revision
from triage_agent.domain.study import AssemblyView, CompletenessRule, InstanceHeader, ReceivedInstance
from triage_agent.domain.vocabulary import Event, Status
from triage_agent.worklist import trail
from triage_agent.worklist.limits import assessment_on_arrival, conflict_with, patient_with, with_keys
from triage_agent.worklist.meeting import before_an_image
from triage_agent.worklist.merge_rules import Survivor, merge_as_json, merge_of_json, merged_again, now_named
from triage_agent.worklist.merges import survivor_for
from triage_agent.worklist.order_rules import with_orders
from triage_agent.worklist.order_trail import patient_found_merged
from triage_agent.worklist.ordering import link_orders, meet_orders
from triage_agent.worklist.retention import look_again
from triage_agent.worklist.retrieval_row import RetrievalRow
from triage_agent.worklist.rows import advance, append_audit, locked_study, status_is
from triage_agent.worklist.statements import OF, is_asked, put
from triage_agent.worklist.tables import InstanceRow, StudyRow
from triage_agent.worklist.transactions import changed
from triage_agent.worklist.workitem_changes import insert_workitem

_KNOWN = select(InstanceRow.study_instance_uid, InstanceRow.sha256, InstanceRow.original_deleted_at).where(
    is_asked(InstanceRow.sop_instance_uid)
)
_DIGEST = select(InstanceRow.sha256).where(is_asked(InstanceRow.sop_instance_uid))
_NOW = bindparam("now", type_=StudyRow.next_check_at.type)
_DUE = (
    select(
        StudyRow.study_instance_uid,
        StudyRow.revision,
        StudyRow.instances,
        StudyRow.first_received_at,
        StudyRow.last_received_at,
        StudyRow.asked,
        RetrievalRow,
    )
    .outerjoin(RetrievalRow, RetrievalRow.study_instance_uid == StudyRow.study_instance_uid)
    # A clock that was set back: then the next check may lie hours ahead.
    .where(status_is(Status.RECEIVING), or_(StudyRow.next_check_at <= _NOW, StudyRow.last_received_at > _NOW))
    .order_by(StudyRow.next_check_at, StudyRow.study_instance_uid)
    .limit(bindparam("most", type_=Integer))
)


def register(session: Session, received: ReceivedInstance, rule: CompletenessRule) -> Registered:
    """See `Worklist.register`."""
    header, at = received.header, received.received_at
    known = session.execute(_KNOWN, {OF: header.sop_instance_uid}).one_or_none()
    if known is not None:
        found = Registered.DUPLICATE if known.sha256 == received.sha256 else Registered.CONFLICT
        append_audit(session, trail.instance_received(received, found, known.study_instance_uid))
        if found is Registered.DUPLICATE and known.original_deleted_at is not None:
            look_again(session, known.study_instance_uid)
        if found is Registered.CONFLICT and header.study_instance_uid != known.study_instance_uid:
            _note_conflict(session, received, known.study_instance_uid)
        elif found is Registered.CONFLICT:
            _raise_as_asked(session, received)
        return found
    before_an_image(session, header)
    study = locked_study(session, header.study_instance_uid)
    survivor = survivor_for(session, study, header)
    received = now_named(received, survivor)
    orders = meet_orders(session, study, received.header)
    received = with_orders(received, orders)
    if study is None:
        _insert_study(session, received, header.event, {"instances": 1, "next_check_at": rule.next_check(at, at)})
        _insert_instance(session, received, 1, Status.RECEIVING)
    else:
        revision = study.revision + opens_revision(study.status, header.event)
        _insert_instance(session, received, revision, study.status)
    append_audit(session, trail.instance_received(received, Registered.NEW, header.study_instance_uid))
    if study is not None:
        _add_to_study(session, study, received, rule)
    _note_survivor(session, received, survivor)
    link_orders(session, orders, received)
    return Registered.NEW


def digest_of(session: Session, sop_instance_uid: str) -> str | None:
    """See `Worklist.digest_of`."""
    return session.scalar(_DIGEST, {OF: sop_instance_uid})


def spool_paths(session: Session) -> Iterator[str]:
    """See `Worklist.spool_paths`; the server sorts, and a few thousand are here at a time."""
    plain = InstanceRow.path.collate("C") if session.get_bind().dialect.name == "postgresql" else InstanceRow.path
    there = select(InstanceRow.path).where(InstanceRow.original_deleted_at.is_(None))
    statement = there.order_by(plain).execution_options(yield_per=5000)
    yield from session.scalars(statement)


def _note_conflict(session: Session, received: ReceivedInstance, kept_in: str) -> None:
    """The instance stays with the study that had its UID first; the study it came for says so (promise 2)."""
    header = received.header
    before_an_image(session, header)
    study = locked_study(session, header.study_instance_uid)
    conflict = conflict_with(study.conflict if study else None, header.sop_instance_uid, kept_in)
    append_audit(session, trail.instance_conflicts(received, kept_in))
    if study is None:
        survivor = survivor_for(session, study, header)
        received = now_named(received, survivor)
        orders = meet_orders(session, study, received.header)
        received = with_orders(received, orders)
        _insert_study(session, received, Event.CONFLICTED, {"instances": 0, "conflict": conflict})
        _note_survivor(session, received, survivor)
        link_orders(session, orders, received)
    else:
        columns = {"conflict": conflict, **_raised(study, received)}
        advance(session, study, Event.CONFLICTED, actor=received.source, at=received.received_at, columns=columns)
        _audit_raise(session, study, received)


def _note_survivor(session: Session, received: ReceivedInstance, survivor: Survivor | None) -> None:
    """An image came with a Patient ID that had been given up: results name who its patient is by now."""
    uid = received.header.study_instance_uid
    if survivor is None or (study := locked_study(session, uid)) is None:
        return
    if study.patient_id != survivor.merged.into.patient_id:
        return  # an image of somebody else in this study: its merge is not this patient's
    merged = merged_again(merge_of_json(study.merged), survivor.merged.prior_ids, survivor.merged.into)
    statement = update(StudyRow).where(StudyRow.study_instance_uid == uid).values(merged=merge_as_json(merged))
    session.execute(statement.execution_options(synchronize_session=False))
    append_audit(session, patient_found_merged(received, survivor.message))


def _raise_as_asked(session: Session, received: ReceivedInstance) -> None:
    """Other bytes of an instance are not kept, and what their order asks for still counts: it can only raise."""
    study = locked_study(session, received.header.study_instance_uid)
    if study is None:
        return
    same_study = StudyRow.study_instance_uid == study.study_instance_uid
    statement = update(StudyRow).where(same_study).values(_raised(study, received))
    session.execute(statement.execution_options(synchronize_session=False))
    _audit_raise(session, study, received)


def _raised(study: StudyRow, received: ReceivedInstance) -> dict[str, object]:
    """The priorities of a study of which one more header has come."""
    wanted = received.header.requested_priority
    return {
        "priority": study.priority.raised_to(wanted),
        "priority_at_arrival": study.priority_at_arrival.raised_to(wanted),
    }


def _audit_raise(session: Session, before: StudyRow, received: ReceivedInstance) -> None:
    raised = before.priority.raised_to(received.header.requested_priority)
    if raised is not before.priority:
        append_audit(session, trail.priority_requested(received, before.priority, raised))


def _insert_study(session: Session, received: ReceivedInstance, event: Event, columns: dict[str, object]) -> None:
    at = received.received_at
    values: dict[str, object] = {
        "study_instance_uid": received.header.study_instance_uid,
        "patient_id": received.header.patient_id or None,
        "patient_name": received.header.patient_name or None,
        **_described(received.header),
        "status": BEGINNINGS[event],
        "revision": 1,
        "priority": received.header.requested_priority,
        "priority_at_arrival": received.header.requested_priority,
        "received_at": at,
        "first_received_at": at,
        "last_received_at": at,
        "asked": 0,
        "attempts": 0,
        "reasons": [],
        **columns,
    }
    put(session, StudyRow, with_keys(values))
    header = received.header
    insert_workitem(session, header.study_instance_uid, 1, 1, header.requested_priority, at)


def _described(header: InstanceHeader) -> dict[str, str | int | None]:
    return {
        "accession_number": header.accession_number or None,
        "modality": header.modality or None,
        "patient_birth_date": header.patient_birth_date or None,
        "patient_age": header.patient_age,
    }


def _insert_instance(session: Session, received: ReceivedInstance, revision: int, status: Status) -> None:
    """`status` is the study's, before the instance came."""
    header = received.header
    values: dict[str, object] = {
        "sop_instance_uid": header.sop_instance_uid,
        "study_instance_uid": header.study_instance_uid,
        "revision": revision,
        "series_instance_uid": header.series_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "path": received.path,
        "sha256": received.sha256,
        "size": received.size,
        "source": received.source,
        "received_at": received.received_at,
        "attempts": 0,
    }
    if (assessment := assessment_on_arrival(header, status)) is not None:
        values |= {"outcome": assessment.outcome, "reason": assessment.reason, "assessed_at": received.received_at}
    put(session, InstanceRow, values)


def _add_to_study(session: Session, study: StudyRow, received: ReceivedInstance, rule: CompletenessRule) -> None:
    event = received.header.event
    patient_id, patient_name = patient_with(study.patient_id, study.patient_name, received.header)
    advance(
        session,
        study,
        event,
        actor=received.source,
        at=received.received_at,
        columns=with_keys(
            {
                **{name: getattr(study, name) or text for name, text in _described(received.header).items()},
                "patient_id": patient_id,
                "patient_name": patient_name,
                **_raised(study, received),
                "instances": study.instances + 1,
                "originals_deleted_at": None,
                **(_awaiting_more(study, received, rule) if event is Event.IMAGE_RECEIVED else {}),
            }
        ),
    )
    _audit_raise(session, study, received)


def _awaiting_more(study: StudyRow, received: ReceivedInstance, rule: CompletenessRule) -> dict[str, object]:
    """The assembly of a study that one more image has come for."""
    at = received.received_at
    afresh = opens_revision(study.status, received.header.event)
    first = at if afresh else min(study.first_received_at, at)
    last = at if afresh else max(study.last_received_at, at)
    return {
        # While a study is receiving its reason says what is waited for; of another status it is out of date.
        "status_reason": study.status_reason if study.status is Status.RECEIVING else None,
        "first_received_at": first,
        "last_received_at": last,
        "next_check_at": rule.next_check(first, last),
        "asked": 0 if afresh else study.asked,
    }


def due_for_completion(session: Session, now: datetime, limit: int) -> Sequence[AssemblyView]:
    """See `Worklist.due_for_completion`."""
    return [
        AssemblyView(
            study_instance_uid=uid,
            revision=revision,
            instances=instances,
            first_received_at=first,
            last_received_at=last,
            asked=asked,
            retrieval=_record(retrieval),
        )
        for uid, revision, instances, first, last, asked, retrieval in session.execute(
            _DUE, {"now": now, "most": limit}
        )
    ]


def _record(retrieval: RetrievalRow | None) -> RetrievalRecord | None:
    return None if retrieval is None else retrieval.record()


def check_later(
    session: Session,
    study_instance_uid: str,
    revision: int,
    at: datetime,
    *,
    asked: bool,
    reason: str | None,
    fetching: bool,
) -> bool:
    """See `Worklist.check_later`."""
    if fetching:
        locked_study(session, study_instance_uid)  # whoever ends a retrieval locks it, too, and looks at it again then
        state = select(RetrievalRow.state).where(RetrievalRow.study_instance_uid == study_instance_uid)
        if session.scalar(state) is not RetrievalState.WAITING:
            return False
    said = {} if reason is None else {"status_reason": reason}
    statement = (
        update(StudyRow)
        .where(
            StudyRow.study_instance_uid == study_instance_uid,
            StudyRow.revision == revision,
            StudyRow.status == Status.RECEIVING,
        )
        .values(next_check_at=at, asked=StudyRow.asked + int(asked), **said)
        .execution_options(synchronize_session=False)
    )
    return changed(session, statement) == 1


def complete(session: Session, view: AssemblyView, reason: str, now: datetime) -> bool:
    """See `Worklist.complete`."""
    study = locked_study(session, view.study_instance_uid)
    if study is None or study.status is not Status.RECEIVING or study.revision != view.revision:
        return False
    return advance(
        session,
        study,
        Event.COMPLETED,
        actor=trail.AGENT,
        at=now,
        unless_moved=(StudyRow.instances == view.instances, StudyRow.last_received_at == view.last_received_at),
        columns={"status_reason": reason, "next_check_at": None},
    )
