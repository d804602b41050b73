"""Brings a workitem up to date at a PACS that owns the worklist: N-CREATE, else N-SET (PS3.4 sections CC.2.5, CC.2.6).

0111H means that an earlier result made it. What is there is read first, so that no priority is ever lowered, whoever
set it.
"""

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association

from triage_agent.dimse.kept import KeepingClient
from triage_agent.dimse.outgoing import Context
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.steps.data import PULL, PUSH
from triage_agent.steps.updating import changes_to, read_workitem

log = structlog.get_logger(__name__)

CONTEXTS: list[Context] = [
    (str(sop_class), str(syntax))
    for sop_class in (PUSH, PULL)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
]
_SUCCESS, _DUPLICATE, _NOT_THERE = 0x0000, 0x0111, 0xC307
_ENDED = frozenset({0xC300})  # it was read already, or given up
_CLAIMED = frozenset({0xC301})  # somebody reads it at this moment: only they may change it
# Not 0124H: a PACS that does not let us keep workitems there goes on not to, whatever the workitem.
_TRY_AGAIN = frozenset({0x0110, 0x0213, 0xA700, _NOT_THERE})


class WorkitemClient(KeepingClient):
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
        super().__init__(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )

    def put(self, part10: bytes) -> None:
        """Create the workitem, or bring the one that is there up to date.

        Raises:
            DeliveryError: it was not taken; permanent where the same again cannot be.
        """
        uid, data = read_workitem(part10)
        with self._lock:
            try:
                self._on_kept(lambda: self._caller.associate(CONTEXTS), lambda one: self._create(one, uid, data))
            except (RuntimeError, ValueError) as error:  # nothing of ours on the association, or it has ended
                self._let_go()
                raise DeliveryError(f"{self._caller}: no request can be sent ({error})", permanent=False) from error

    def _create(self, association: Association, uid: str, data: Dataset) -> None:
        """Done again from its beginning, it does no more than once."""
        status = self._ask("N-CREATE", association.send_n_create(data, PUSH, uid)[0])
        if status == _DUPLICATE:
            self._update(association, uid, data)
        else:
            self._judge("N-CREATE", status)

    def _update(self, association: Association, uid: str, data: Dataset) -> None:
        tags = [Tag("ScheduledProcedureStepPriority"), Tag("ProcedureStepState")]
        answered, there = association.send_n_get(tags, PUSH, uid)
        self._judge("N-GET", self._ask("N-GET", answered))
        has = str(there.get("ScheduledProcedureStepPriority", "")) if there is not None else ""
        status = self._ask("N-SET", association.send_n_set(changes_to(has, data), PUSH, uid, meta_uid=PULL)[0])
        if status in _ENDED | _CLAIMED:
            log.info("workitem_not_ours_any_more", workitem=uid, status=f"0x{status:04X}")
            return
        self._judge("N-SET", status)

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
