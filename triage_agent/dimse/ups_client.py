"""Tells one subscriber of workitems by N-EVENT-REPORT (PS3.4 section CC.2.4), on an association that we ask for."""

import structlog
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role
from pynetdicom.association import Association

from triage_agent.dimse.kept import KeepingClient
from triage_agent.dimse.outgoing import Context
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.workitem import StepReport
from triage_agent.steps.data import EVENT, PUSH, information

log = structlog.get_logger(__name__)

CONTEXTS: list[Context] = [
    (str(EVENT), str(ExplicitVRLittleEndian)),
    (str(EVENT), str(ImplicitVRLittleEndian)),
]
_SUCCESS = 0x0000
_TRY_AGAIN = frozenset({0x0110, 0x0213})  # processing failure, out of resources; who answers 0124H wants no report


class ReportClient(KeepingClient):
    """One subscriber; its association is kept while there is something to tell.

    Args:
        idle_seconds: after so long without a report the association is released.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        connect_seconds: float = 10.0,
        answer_seconds: float = 30.0,
        idle_seconds: float = 5.0,
    ) -> None:
        super().__init__(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )

    def tell(self, report: StepReport) -> None:
        """Send one report, as the service's provider; returns when the subscriber has taken it.

        Raises:
            DeliveryError: it was not told; permanent where it was, and does not want the report.
        """
        with self._lock:
            code = self._exchange(report)
            if code is None:
                self._let_go()
        if code is None:
            raise DeliveryError(f"{self._caller}: no answer to N-EVENT-REPORT", permanent=False, away=True)
        if code != _SUCCESS and code & 0xF000 != 0xB000:  # noqa: PLR2004 - warnings
            raise DeliveryError(
                f"{self._caller}: N-EVENT-REPORT answered 0x{code:04X}", permanent=code not in _TRY_AGAIN
            )

    def _exchange(self, report: StepReport) -> int | None:
        """The status that is answered; None without an answer."""
        told = (information(report.information), int(report.type), PUSH, report.workitem_uid)
        try:
            status = self._on_kept(self._associate, lambda one: one.send_n_event_report(*told, meta_uid=EVENT)[0])
        except (RuntimeError, ValueError) as error:
            self._let_go()
            raise DeliveryError(
                f"{self._caller}: no N-EVENT-REPORT can be sent ({error})",
                permanent=False,
                remedy="the subscriber must accept UPS Event with our SCP role (role selection)",
                away=True,
            ) from error
        code: int | None = status.get("Status")
        return code

    def _associate(self) -> Association:
        role = build_role(EVENT, scu_role=False, scp_role=True)
        try:
            return self._caller.associate(CONTEXTS, roles=[role])
        except DeliveryError as error:  # nothing was told: an admin may mend it, and it is told then
            raise DeliveryError(error.message, permanent=False, remedy=error.remedy, away=True) from error
