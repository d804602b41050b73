"""Work that peers post as workitems (IHE AI Workflow for Imaging, Task Performer): "process this study".

Such a workitem is claimed, its studies are fetched where they can be, and it is completed with our reports once they
are delivered, or canceled with the reason. Where it stands is in the database: any process goes on with it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from triage_agent.domain.ports import Clock, StudyDetail, Worklist
from triage_agent.domain.retrieval import RetrievalState
from triage_agent.domain.uids import derive_uid, is_uid
from triage_agent.domain.vocabulary import Status
from triage_agent.domain.workitem import Attributes, StepState, Workitem, Workitems, items_of, text_at

log = structlog.get_logger(__name__)

_AT_ONCE = 50  # workitems in hand
_MOST_STUDIES = 20  # of one workitem

_INPUT, _STUDY, _PERFORMED, _PROGRESS = "00404021", "0020000D", "00741216", "00741002"
_STATION, _START, _CODE, _END, _OUTPUT = "00404028", "00404050", "00404019", "00404051", "00404033"
_CANCELED_AT, _REASON, _REASON_CODES = "00404052", "00741238", "0074100E"
_FAILED = frozenset({Status.NEEDS_HUMAN, Status.OUT_OF_SCOPE})


class Performer:
    """Does what is posted, as one of possibly many processes.

    Args:
        source_of: the peer that a workitem's studies can be fetched from; None where there is none.
        outputs_of: our reports of a study, as items of Output Information in DICOM JSON.
    """

    def __init__(
        self,
        *,
        workitems: Workitems,
        worklist: Worklist,
        ae_title: str,
        source_of: Callable[[Workitem], str | None],
        outputs_of: Callable[[str], Sequence[Attributes]],
        clock: Clock,
    ) -> None:
        self._workitems = workitems
        self._worklist = worklist
        self._ae_title = ae_title
        self._source_of = source_of
        self._outputs_of = outputs_of
        self._clock = clock

    def step(self) -> bool:
        """Look at what was posted; whether something moved.

        Raises:
            WorklistUnavailableError: the database is away.
        """
        items = self._workitems.to_perform(self._ae_title, _AT_ONCE)
        moved = [self._begin(item) if item.state is StepState.SCHEDULED else self._go_on(item) for item in items]
        return any(moved)

    def _begin(self, item: Workitem) -> bool:
        verdict = self._workitems.change_state(
            item.uid, StepState.IN_PROGRESS, _transaction(item), self._ae_title, self._clock()
        )
        if verdict.changes:
            log.info("workitem_claimed", workitem=item.uid, posted_by=item.posted_by)
        return verdict.changes

    def _go_on(self, item: Workitem) -> bool:
        studies = studies_of(item)
        if not studies or len(studies) > _MOST_STUDIES:
            return self._give_up(item, f"its input names {len(studies)} studies; it takes 1 to {_MOST_STUDIES}")
        problems = [self._problem(item, study) for study in studies]
        if any(problem is None for problem in problems):
            return False
        if reasons := [problem for problem in problems if problem]:
            return self._give_up(item, "; ".join(reasons))
        return self._complete(item, studies)

    def _problem(self, item: Workitem, study: str) -> str | None:
        """Why a study has no report; empty where it has one, None while it may still get one."""
        peer, fetched = self._source_of(item), self._worklist.retrieval_of(study)
        if peer is not None and (fetched is None or fetched.requested_at < item.created_at):
            self._worklist.want_retrieval(study, peer, self._clock(), requested_by=f"workitem of {item.posted_by}")
            return None
        if fetched is not None and fetched.state is RetrievalState.WAITING:
            return None
        detail = self._worklist.study(study)
        if detail is None:
            said = fetched.last_error if fetched is not None else None
            return said or "the study is not here, and there is no peer to fetch it from"
        if detail.item.status in _FAILED:
            return detail.item.status_reason or detail.item.status.value.replace("_", " ")
        return "" if _is_done(detail) else None

    def _complete(self, item: Workitem, studies: Sequence[str]) -> bool:
        now = self._clock()
        outputs = [output for study in studies for output in self._outputs_of(study)]
        performed = {
            _STATION: _sequence(_code(self._ae_title, "99TRIAGE", "Triage agent")),
            _START: _element("DT", _moment(item.modified_at)),
            _CODE: _sequence(_code("110004", "DCM", "Computer Aided Detection")),
            _END: _element("DT", _moment(now)),
            _OUTPUT: _sequence(*outputs),
        }
        return self._end(item, StepState.COMPLETED, {_PERFORMED: _sequence(performed)}, now)

    def _give_up(self, item: Workitem, reason: str) -> bool:
        now = self._clock()
        progress = {
            _CANCELED_AT: _element("DT", _moment(now)),
            _REASON: _element("LT", reason[:10240]),
            _REASON_CODES: _sequence(_code("110513", "DCM", "Discontinued for unspecified reason")),
        }
        return self._end(item, StepState.CANCELED, {_PROGRESS: _sequence(progress)}, now)

    def _end(self, item: Workitem, state: StepState, attributes: Attributes, now: datetime) -> bool:
        transaction = _transaction(item)
        self._workitems.update(item.uid, transaction, attributes, self._ae_title, now)
        verdict = self._workitems.change_state(item.uid, state, transaction, self._ae_title, now)
        log.info("workitem_ended", workitem=item.uid, state=state.value, status=f"0x{verdict:04X}")
        return verdict.changes


def studies_of(item: Workitem) -> list[str]:
    """The studies that a workitem's Input Information Sequence names, each once."""
    named = [text_at(one, _STUDY) for one in items_of(item.attributes, _INPUT)]
    return list(dict.fromkeys(uid for uid in named if is_uid(uid)))


def _is_done(detail: StudyDetail) -> bool:
    """Delivered; or decided, where no route leads anywhere."""
    item = detail.item
    sends = any(delivery.revision == item.revision for delivery in detail.deliveries)
    return item.status is Status.DELIVERED or (item.status is Status.DECIDED and not sends)


def _transaction(item: Workitem) -> str:
    """The same in every process, and after a restart; nobody outside can tell it from another."""
    return derive_uid("task", item.uid, item.created_at.isoformat())


def _code(value: str, scheme: str, meaning: str) -> Attributes:
    return {
        "00080100": _element("SH", value),
        "00080102": _element("SH", scheme),
        "00080104": _element("LO", meaning),
    }


def _sequence(*items: Attributes) -> Mapping[str, object]:
    return {"vr": "SQ", "Value": [dict(item) for item in items]}


def _element(vr: str, value: str) -> Mapping[str, object]:
    return {"vr": vr, "Value": [value]}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")
