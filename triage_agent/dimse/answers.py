"""Every status that our services answer with, and when: for people who read logs of the other side.

The names that the standard has for them come from pynetdicom's tables (PS3.7 annex C and PS3.4).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pynetdicom import status as standard

from triage_agent.dimse import commitment, modality_worklist, server, ups
from triage_agent.dimse.retrieve_statuses import judge_retrieve
from triage_agent.dimse.statuses import judge_store
from triage_agent.domain.retrieval import SubOperations
from triage_agent.domain.workitem import Verdict
from triage_agent.steps import desk


@dataclass(frozen=True, slots=True)
class Answer:
    """One status of one service; `category` and `meaning` are the standard's, which has no name for some."""

    code: int
    category: str
    meaning: str
    when: str


_ENDS_WITHOUT = frozenset({standard.STATUS_FAILURE, standard.STATUS_WARNING, standard.STATUS_CANCEL})
_BUG = "a fault of the agent's own, which is logged; this request alone is lost"
_AWAY = "the database is away, or the disk is below its low-water mark: ask again"
_NOT_SERVED = "the request names another SOP class than its presentation context"

_STORE: Mapping[int, str] = {
    server.SUCCESS: "the instance is durable and on the worklist; also where the same instance came before",
    server.COERCED: "the SOP Instance UID came before with other bytes: the first copy is kept, this one is "
    "quarantined (0x0000 is answered unless the site asks for this warning)",
    server.OUT_OF_RESOURCES: _AWAY,
    server.DATA_SET_DOES_NOT_MATCH: "no data set, or one without the UIDs that the request names; it is quarantined",
    server.SOP_CLASS_NOT_SUPPORTED: _NOT_SERVED,
    server.CANNOT_UNDERSTAND: _BUG,
}
_COMMITMENT: Mapping[int, str] = {
    commitment.SUCCESS: "the request, or the report, is durable",
    commitment.PROCESSING_FAILURE: _BUG,
    commitment.NO_SUCH_SOP_INSTANCE: "it is not addressed to the well-known SOP Instance",
    commitment.INVALID_ARGUMENT: "its information is not as PS3.4 annex J has it",
    commitment.NO_SUCH_SOP_CLASS: "it is not addressed to the Push Model SOP Class",
    commitment.NO_SUCH_ACTION: "an action type other than 1",
    commitment.NOT_AUTHORIZED: "the peer may not ask, or was not asked",
    commitment.RESOURCE_LIMITATION: "a request of more than 32,768 instances or 4 MiB; or the database is away",
}
_WORKLIST: Mapping[int, str] = {
    modality_worklist.SUCCESS: "all matches were sent",
    modality_worklist.PENDING: "a match",
    modality_worklist.PENDING_WITHOUT_SOME_KEYS: "a match; some optional keys of the query are not supported",
    modality_worklist.CANCELLED: "the peer has cancelled",
    modality_worklist.OUT_OF_RESOURCES: "more matches than [dicom] worklist_answers, of which as many were sent; or "
    "the database is away; or the query is too long",
    modality_worklist.DOES_NOT_MATCH: "the query cannot be read",
    modality_worklist.UNABLE_TO_PROCESS: _BUG,
}
_UPS: Mapping[int, str] = {
    Verdict.DONE: "done",
    ups.SOME_NOT_SUPPORTED: "N-GET: some of the attributes asked for are not there",
    ups.PROCESSING_FAILURE: _BUG,
    Verdict.DUPLICATE: "N-CREATE: a workitem with this UID is there",
    desk.INVALID_ARGUMENT: "the UID, or an attribute, is not as the standard has it",
    ups.NO_SUCH_SOP_CLASS: "workitems are instances of UPS Push (PS3.4 CC.3.1)",
    desk.MISSING_ATTRIBUTE: "N-CREATE: an attribute of type 1 is missing",
    ups.NO_SUCH_ACTION: "an action type other than 1 to 5",
    desk.NOT_AUTHORIZED: "the peer may not do this, or not for that receiver",
    Verdict.TOO_MUCH: "more than is kept of a workitem; or the database is away",
    ups.OUT_OF_RESOURCES: "C-FIND: the query is too long; or the database is away",
    ups.NO_MATCH_FOR_CLASS: "C-FIND: the query cannot be read",
    ups.CANNOT_PROCESS: f"C-FIND: {_BUG}",
    Verdict.ALREADY_CANCELED: "it is CANCELED already",
    Verdict.COERCED: "done, but some attributes are not the peer's to set",
    Verdict.ALREADY_COMPLETED: "it is COMPLETED already",
    Verdict.NO_LONGER_UPDATED: "it has ended, and is not changed any more",
    Verdict.WRONG_TRANSACTION: "the Transaction UID is not the claim's",
    Verdict.ALREADY_IN_PROGRESS: "somebody has claimed it",
    Verdict.ONLY_CREATED_SCHEDULED: "it cannot become SCHEDULED again",
    Verdict.NOT_FINISHED: "the final state's attributes are not set yet",
    Verdict.UNKNOWN_WORKITEM: "there is no such workitem",
    desk.UNKNOWN_RECEIVER: "the receiving AE is no peer with host and port",
    desk.NOT_SCHEDULED: "N-CREATE: a workitem begins as SCHEDULED",
    Verdict.NOT_IN_PROGRESS: "nobody has claimed it",
    Verdict.ALREADY_DONE: "a wish to cancel what is COMPLETED",
    Verdict.PERFORMER_NOT_REACHED: "a wish to cancel, and the performer cannot be told",
    desk.NOT_APPROPRIATE: "that action is not for that instance",
    ups.PENDING: "C-FIND: a match",
    ups.PENDING_WITHOUT_SOME_KEYS: "C-FIND: a match; some optional keys of the query are not supported",
    ups.CANCELED: "C-FIND: the peer has cancelled",
}


def _table(known: Mapping[int, tuple[str, str]], said: Mapping[int, str]) -> tuple[Answer, ...]:
    return tuple(Answer(int(code), *_named(int(code), known), said[code]) for code in sorted(said))


def _named(code: int, known: Mapping[int, tuple[str, str]]) -> tuple[str, str]:
    category, meaning = known.get(code) or standard.GENERAL_STATUS.get(code) or ("", "")
    return category or standard.code_to_category(code), meaning


ANSWERS: Mapping[str, tuple[Answer, ...]] = MappingProxyType(
    {
        "Storage (C-STORE)": _table(standard.STORAGE_SERVICE_CLASS_STATUS, _STORE),
        "Storage Commitment (N-ACTION, N-EVENT-REPORT)": _table(
            standard.STORAGE_COMMITMENT_SERVICE_CLASS_STATUS, _COMMITMENT
        ),
        "Modality Worklist (C-FIND)": _table(standard.MODALITY_WORKLIST_SERVICE_CLASS_STATUS, _WORKLIST),
        "Unified Procedure Step": _table(standard.UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS, _UPS),
    }
)
"""By service; each status that a service may answer with is in its table."""


Judged = tuple[int, int, str, str]
"""First and last code, the standard's name, and what we do."""


def store_verdicts() -> list[Judged]:
    """What becomes of an object, by the status that a peer answers its C-STORE with."""
    known = standard.GENERAL_STATUS | standard.STORAGE_SERVICE_CLASS_STATUS
    return _grouped({code: (_name(known[code]), judge_store(code).value) for code in known})


def retrieve_verdicts() -> list[Judged]:
    """Whether a study is asked for again, by the last status of a C-MOVE or C-GET; of those that say that it failed."""
    known = standard.QR_MOVE_SERVICE_CLASS_STATUS | standard.QR_GET_SERVICE_CLASS_STATUS
    judged: dict[int, tuple[str, str]] = {}
    for code, said in known.items():
        failure = judge_retrieve("", code, SubOperations(), "") if said[0] in _ENDS_WITHOUT else None
        if failure is not None:
            judged[code] = (
                _name(said),
                "not asked again" if failure.permanent else "asked again, a bounded number of times",
            )
    return _grouped(judged)


def _name(said: tuple[str, str]) -> str:
    category, meaning = said
    return meaning or category


def _grouped(judged: Mapping[int, tuple[str, str]]) -> list[Judged]:
    """Codes that follow each other with the same meaning and verdict as one."""
    found: list[Judged] = []
    for code in sorted(judged):
        meaning, verdict = judged[code]
        if found and found[-1][1:] == (code - 1, meaning, verdict):
            found[-1] = (found[-1][0], code, meaning, verdict)
        else:
            found.append((code, code, meaning, verdict))
    return found
