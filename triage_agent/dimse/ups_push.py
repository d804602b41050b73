"""Brings a workitem up to date at a PACS that owns the worklist: N-CREATE, else N-SET (PS3.4 sections CC.2.5, CC.2.6).

The workitem's UID is the study's for ever: 0111H means that an earlier result made it. What is there is read first, so
that no priority is ever lowered, whoever set it.
"""

import threading
from io import BytesIO

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association

from triage_agent.dimse.outgoing import Caller, Context, end
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.steps.data import PULL, PUSH

log = structlog.get_logger(__name__)

_CONTEXTS: list[Context] = [
    (str(sop_class), str(syntax))
    for sop_class in (PUSH, PULL)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
]
_SUCCESS, _DUPLICATE, _NOT_THERE = 0x0000, 0x0111, 0xC307
_ENDED = frozenset({0xC300})  # it was read already, or given up
_CLAIMED = frozenset({0xC301})  # somebody reads it at this moment: only they may change it
_TRY_AGAIN = frozenset({0x0110, 0x0124, 0x0213, 0xA700, _NOT_THERE})
_RANKS = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
# What a result changes of a workitem that is there; the rest is as it was when it was made.
_CHANGING = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "CommentsOnTheScheduledProcedureStep",
    "InputReadinessState",
    "InputInformationSequence",
)
_FAREWELL_SECONDS = 1.0


class WorkitemClient:
    """One PACS; its association is kept while there is something to send. Safe to call from many threads."""

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        connect_seconds: float,
        answer_seconds: float,
        idle_seconds: float = 5.0,
    ) -> None:
        self._caller = Caller(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )
        self._lock = threading.Lock()
        self._kept: Association | None = None

    def put(self, part10: bytes) -> None:
        """Create the workitem, or bring the one that is there up to date.

        Raises:
            DeliveryError: it was not taken; permanent where the same again cannot be.
        """
        data = _read(part10)
        uid = str(data.SOPInstanceUID)
        del data.SOPInstanceUID, data.SOPClassUID  # the request names them
        with self._lock:
            association = self._associated()
            try:
                status = self._ask("N-CREATE", association.send_n_create(data, PUSH, uid)[0])
                if status == _DUPLICATE:
                    self._update(association, uid, data)
                    return
            except (RuntimeError, ValueError) as error:  # nothing of ours on the association, or it has ended
                self._let_go()
                raise DeliveryError(f"{self._caller}: no request can be sent ({error})", permanent=False) from error
        self._judge("N-CREATE", status)

    def close(self) -> None:
        """Release the association that is kept; what waits for an answer is cut off."""
        is_ours = self._lock.acquire(blocking=False)
        if not is_ours:
            self._caller.cut()
            is_ours = self._lock.acquire(timeout=_FAREWELL_SECONDS)
        if is_ours:
            try:
                self._let_go(_FAREWELL_SECONDS)
            finally:
                self._lock.release()
        self._caller.cut()

    def _update(self, association: Association, uid: str, data: Dataset) -> None:
        tags = [Tag("ScheduledProcedureStepPriority"), Tag("ProcedureStepState")]
        answered, there = association.send_n_get(tags, PUSH, uid)
        self._judge("N-GET", self._ask("N-GET", answered))
        changes = Dataset()
        changes.SpecificCharacterSet = data.SpecificCharacterSet
        for keyword in _CHANGING:
            changes[keyword] = data[keyword]
        has = str(there.get("ScheduledProcedureStepPriority", "")) if there is not None else ""
        if _RANKS.get(has, 0) > _RANKS[data.ScheduledProcedureStepPriority]:
            del changes.ScheduledProcedureStepPriority
        status = self._ask("N-SET", association.send_n_set(changes, PUSH, uid, meta_uid=PULL)[0])
        if status in _ENDED | _CLAIMED:
            log.info("workitem_not_ours_any_more", workitem=uid, status=f"0x{status:04X}")
            return
        self._judge("N-SET", status)

    def _associated(self) -> Association:
        kept = self._kept
        if kept is not None and kept.is_established:
            return kept
        self._let_go()
        self._kept = self._caller.associate(_CONTEXTS)
        return self._kept

    def _ask(self, what: str, answered: Dataset) -> int:
        code = answered.get("Status")
        if code is None:
            self._let_go()
            raise DeliveryError(f"{self._caller}: no answer to {what}", permanent=False, away=True)
        return int(code)

    def _judge(self, what: str, code: int) -> None:
        if code in {_SUCCESS, 0x0001, 0x0107, 0x0116} or code & 0xF000 == 0xB000:  # noqa: PLR2004 - warnings
            return
        raise DeliveryError(f"{self._caller}: {what} answered 0x{code:04X}", permanent=code not in _TRY_AGAIN)

    def _let_go(self, seconds: float | None = None) -> None:
        association, self._kept = self._kept, None
        if association is not None:
            end(association, seconds)


def _read(part10: bytes) -> Dataset:
    try:
        return dcmread(BytesIO(part10))
    except InvalidDicomError as error:
        raise DeliveryError("the workitem cannot be read", permanent=True) from error
