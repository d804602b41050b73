"""The client's side of storage commitment: asks a peer to keep what it was sent, and reports to it what we keep."""

from collections.abc import Callable, Sequence

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from triage_agent.dimse.client import reference_of
from triage_agent.dimse.commitment import guarded, take_report
from triage_agent.dimse.commitment_data import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST,
    action_information,
    event_information,
    event_type,
)
from triage_agent.dimse.kept import KeepingClient
from triage_agent.dimse.outgoing import Context, end
from triage_agent.dimse.peers import Peer
from triage_agent.domain.commitment import CommitmentReport
from triage_agent.domain.errors import DeliveryError

log = structlog.get_logger(__name__)

CONTEXTS: list[Context] = [
    (str(PUSH_MODEL), str(ExplicitVRLittleEndian)),
    (str(PUSH_MODEL), str(ImplicitVRLittleEndian)),
]
_SUCCESS = 0x0000
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
_TRY_AGAIN = frozenset({0x0110, 0x0124, 0x0213})  # processing failure, not authorised (yet), out of resources


class CommitmentClient(KeepingClient):
    """One peer; safe to call from many threads.

    Args:
        reported: told what the peer says of what it was asked, should it answer on the association of the question,
            which is kept for `idle_seconds` for that.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        reported: Callable[[frozenset[str], CommitmentReport], None] | None = None,
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
        self._reported = reported

    def ask(self, transaction_uid: str, objects: Sequence[bytes]) -> None:
        """Ask for these Part 10 files by N-ACTION (PS3.4 section J.3.2); returns when the peer has taken the question.

        Raises:
            DeliveryError: it has not; permanent where asking again in the same way cannot help.
        """
        information = action_information(transaction_uid, [reference_of(body) for body in objects])
        with self._lock:
            try:
                status = self._on_kept(
                    self._associate,
                    lambda one: one.send_n_action(information, REQUEST, PUSH_MODEL, PUSH_MODEL_INSTANCE)[0],
                )
            except (RuntimeError, ValueError) as error:
                self._let_go()
                ended = isinstance(error, RuntimeError)  # it was not asked, which counts as no question
                raise DeliveryError(
                    f"{self._caller}: no N-ACTION can be sent ({error})", permanent=False, away=ended
                ) from error
            if "Status" not in status:
                self._let_go()
        self._judge("N-ACTION", status)

    def report(self, report: CommitmentReport) -> None:
        """Report on a new association, as the service's provider, by N-EVENT-REPORT (PS3.4 section J.3.3).

        Raises:
            DeliveryError: the peer was not told; permanent where it was, and does not take it.
        """
        role = build_role(PUSH_MODEL, scu_role=False, scp_role=True)
        try:
            association = self._caller.associate(CONTEXTS, roles=[role])
        except DeliveryError as error:  # a peer that refuses to listen was told nothing: somebody may mend it
            raise DeliveryError(error.message, permanent=False, remedy=error.remedy, away=error.away) from error
        try:
            status, _ = association.send_n_event_report(
                event_information(report), event_type(report), PUSH_MODEL, PUSH_MODEL_INSTANCE
            )
        except (RuntimeError, ValueError) as error:
            raise DeliveryError(f"{self._caller}: no N-EVENT-REPORT can be sent ({error})", permanent=False) from error
        finally:
            end(association)
        self._judge("N-EVENT-REPORT", status)

    def check(self) -> str:
        """Whether the peer takes storage commitment from us; nothing is asked.

        Raises:
            DeliveryError: it cannot be reached, or refuses the presentation context.
        """
        try:
            end(self._caller.associate(CONTEXTS))
        except DeliveryError as error:
            if not error.permanent:
                raise
            raise DeliveryError(
                f"{self._caller}: storage commitment is not accepted",
                permanent=True,
                remedy="allow it to our AE title at the peer, or take `commit = true` off the route",
            ) from error
        return f"{self._caller} accepts storage commitment"

    def _associate(self) -> Association:
        return self._caller.associate(CONTEXTS, handlers=[(evt.EVT_N_EVENT_REPORT, self._on_report)])

    def _on_report(self, event: evt.Event) -> tuple[Dataset | int, None]:
        reported = self._reported or _nobody_asked
        return guarded(lambda: take_report(event, frozenset({self.peer.name}), reported)), None

    def _judge(self, what: str, status: Dataset) -> None:
        code = status.get("Status")
        if code is None:
            raise DeliveryError(f"{self._caller}: no answer to {what}", permanent=False, away=True)
        if code == _SUCCESS or code in _WARNINGS:
            return
        raise DeliveryError(f"{self._caller}: {what} answered 0x{code:04X}", permanent=code not in _TRY_AGAIN)


def _nobody_asked(_peers: frozenset[str], report: CommitmentReport) -> None:
    log.warning("commitment_report_unasked", transaction_uid=report.transaction_uid)
