"""Tells one subscriber of workitems by N-EVENT-REPORT (PS3.4 section CC.2.4), on an association that we ask for."""

import structlog
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role
from pynetdicom.association import Association

from triage_agent.dimse.outgoing import Caller, Context, end
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.workitem import StepReport
from triage_agent.steps.data import EVENT, PUSH, information

log = structlog.get_logger(__name__)

_CONTEXTS: list[Context] = [
    (str(EVENT), str(ExplicitVRLittleEndian)),
    (str(EVENT), str(ImplicitVRLittleEndian)),
]
_SUCCESS = 0x0000
_TRY_AGAIN = frozenset({0x0110, 0x0124, 0x0213})  # processing failure, not authorised (yet), out of resources
_FAREWELL_SECONDS = 1.0


class ReportClient:
    """One subscriber, used by one thread; its association is kept while there is something to tell.

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
        self._caller = Caller(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )
        self._kept: Association | None = None

    def tell(self, report: StepReport) -> None:
        """Send one report, as the service's provider; returns when the subscriber has taken it.

        Raises:
            DeliveryError: it was not told; permanent where it was, and does not want the report.
        """
        association = self._associated()
        try:
            status, _ = association.send_n_event_report(
                information(report.information), int(report.type), PUSH, report.workitem_uid, meta_uid=EVENT
            )
        except (RuntimeError, ValueError) as error:
            self._let_go()
            raise DeliveryError(
                f"{self._caller}: no N-EVENT-REPORT can be sent ({error})",
                permanent=False,
                remedy="the subscriber must accept UPS Event with our SCP role (role selection)",
                away=True,
            ) from error
        code = status.get("Status")
        if code is None:
            self._let_go()
            raise DeliveryError(f"{self._caller}: no answer to N-EVENT-REPORT", permanent=False, away=True)
        if code != _SUCCESS and code & 0xF000 != 0xB000:  # noqa: PLR2004 - warnings
            raise DeliveryError(
                f"{self._caller}: N-EVENT-REPORT answered 0x{code:04X}", permanent=code not in _TRY_AGAIN
            )

    def close(self) -> None:
        """Release the association that is kept, and hang up."""
        self._let_go(_FAREWELL_SECONDS)
        self._caller.cut()

    def _associated(self) -> Association:
        kept = self._kept
        if kept is not None and kept.is_established:
            return kept
        self._let_go()
        role = build_role(EVENT, scu_role=False, scp_role=True)
        try:
            self._kept = self._caller.associate(_CONTEXTS, roles=[role])
        except DeliveryError as error:  # nothing was told: an admin may mend it, and it is told then
            raise DeliveryError(error.message, permanent=False, remedy=error.remedy, away=True) from error
        return self._kept

    def _let_go(self, seconds: float | None = None) -> None:
        association, self._kept = self._kept, None
        if association is not None:
            end(association, seconds)
