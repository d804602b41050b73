"""The server's side of storage commitment (PS3.4 annex J): requests of peers, and reports on what we asked for."""

import time
import traceback
from collections.abc import Callable, Mapping
from io import BytesIO
from queue import Empty
from weakref import WeakValueDictionary

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.dsutils import encode

from triage_agent.dimse.association import GuardedAssociation
from triage_agent.dimse.commitment_data import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST,
    event_information,
    event_type,
    read_data_set,
    read_report,
    read_request,
)
from triage_agent.dimse.peers import COMMIT, REPORT, AccessPolicy
from triage_agent.dimse.statuses import comment_on
from triage_agent.domain.commitment import CommitmentReport, CommitmentRequest
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError

log = structlog.get_logger(__name__)

# PS3.7 sections 10.1.1.1.8 and 10.1.4.1.10, and annex C.
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_SOP_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_SOP_CLASS = 0x0118
NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
RESOURCE_LIMITATION = 0x0213

_Answer = tuple[Dataset | int, None]


class CommitmentDesk:
    """Takes requests and reports; both are durable before they are answered with success.

    Args:
        requested: keeps a peer's request.
        reported: keeps what one of these peers, which we asked, says.
        answered: told the status of every N-ACTION response.
    """

    def __init__(
        self,
        *,
        policy: AccessPolicy,
        requested: Callable[[CommitmentRequest], None],
        reported: Callable[[frozenset[str], CommitmentReport], None],
        answered: Callable[[int], None] = lambda _status: None,
    ) -> None:
        self._policy = policy
        self._requested = requested
        self._reported = reported
        self._answered = answered
        self._open: WeakValueDictionary[tuple[str, str], GuardedAssociation] = WeakValueDictionary()

    @property
    def sop_classes(self) -> Mapping[UID, frozenset[str]]:
        """See `Service.sop_classes`; who may negotiate it is the door's matter, since we ask for it, too."""
        return {PUSH_MODEL: frozenset({COMMIT, REPORT})}

    @property
    def handlers(self) -> Mapping[evt.InterventionEvent, Callable[[evt.Event], _Answer]]:
        """See `Service.handlers`."""
        return {evt.EVT_N_ACTION: self.on_action, evt.EVT_N_EVENT_REPORT: self.on_report}

    def on_action(self, event: evt.Event) -> _Answer:
        """Answer an N-ACTION (PS3.4 section J.3.2)."""
        status = guarded(lambda: self._action(event))
        self._answered(status if isinstance(status, int) else int(status.Status))
        return status, None

    def on_report(self, event: evt.Event) -> _Answer:
        """Answer an N-EVENT-REPORT on an association that a peer asked for (PS3.4 section J.3.3)."""
        return guarded(lambda: self._report(event)), None

    def _action(self, event: evt.Event) -> Dataset | int:
        request = event.request
        if not isinstance(request, N_ACTION):
            return comment_on(PROCESSING_FAILURE, "not an N-ACTION request")
        peers = sorted(self._peers(event, COMMIT))
        if not peers:
            return comment_on(NOT_AUTHORIZED, "this peer may not ask for storage commitment")
        if refusal := _wrongly_addressed(request.RequestedSOPClassUID, request.RequestedSOPInstanceUID):
            return refusal
        if request.ActionTypeID != REQUEST:
            return comment_on(NO_SUCH_ACTION, "the one action type is 1")
        information = read_data_set(request.ActionInformation, UID(event.context.transfer_syntax))
        transaction_uid, references = read_request(information)
        asked = CommitmentRequest(peer=peers[0], transaction_uid=transaction_uid, references=references)
        self._requested(asked)
        if isinstance(event.assoc, GuardedAssociation):
            self._open[asked.peer, transaction_uid] = event.assoc
        log.info("commitment_requested", peer=asked.peer, transaction_uid=transaction_uid, instances=len(references))
        return SUCCESS

    def _report(self, event: evt.Event) -> Dataset | int:
        peers = self._peers(event, REPORT)
        if not peers:
            return comment_on(NOT_AUTHORIZED, "this peer was asked for no storage commitment")
        return take_report(event, peers, self._reported)

    def _peers(self, event: evt.Event, permission: str) -> frozenset[str]:
        requestor = event.assoc.requestor
        return self._policy.names(str(requestor.ae_title), str(requestor.address), permission)

    def report_where_asked(self, peer: str, report: CommitmentReport, seconds: float) -> int | None:
        """Send a report on the association on which it was asked for (PS3.4 section J.3.3).

        Returns:
            The status it was answered with; None when that association has ended, or nobody answers on it in time.
        """
        association = self._open.get((peer, report.transaction_uid))
        if association is None or not association.is_established:
            return None
        return _ask_back(association, report, seconds)


def take_report(
    event: evt.Event, peers: frozenset[str], reported: Callable[[frozenset[str], CommitmentReport], None]
) -> Dataset | int:
    """The status for an N-EVENT-REPORT of a peer that is one of `peers`; success once it is kept.

    A report about what we do not know (any more) is a success too: the peer must not go on repeating it.

    Raises:
        InvalidDatasetError: it is not as the standard wants it.
        StorageExhaustedError: it is too long.
        WorklistUnavailableError: the database is away.
    """
    request = event.request
    if not isinstance(request, N_EVENT_REPORT):
        return comment_on(PROCESSING_FAILURE, "not an N-EVENT-REPORT request")
    if refusal := _wrongly_addressed(request.AffectedSOPClassUID, request.AffectedSOPInstanceUID):
        return refusal
    information = read_data_set(request.EventInformation, UID(event.context.transfer_syntax))
    reported(peers, read_report(information, request.EventTypeID))
    return SUCCESS


def _wrongly_addressed(sop_class_uid: UID | None, sop_instance_uid: UID | None) -> Dataset | None:
    if sop_class_uid != PUSH_MODEL:
        return comment_on(NO_SUCH_SOP_CLASS, "not the Storage Commitment Push Model SOP Class")
    if sop_instance_uid != PUSH_MODEL_INSTANCE:
        return comment_on(NO_SUCH_SOP_INSTANCE, "not the well-known SOP Instance")
    return None


def guarded(work: Callable[[], Dataset | int]) -> Dataset | int:
    """What `work` answers, or the status of what was wrong."""
    try:
        return work()
    except InvalidDatasetError as error:
        code, message = INVALID_ARGUMENT, error.message
    except StorageExhaustedError as error:
        code, message = RESOURCE_LIMITATION, error.message
    except WorklistUnavailableError as error:
        code, message = RESOURCE_LIMITATION, error.message
    except Exception as error:  # noqa: BLE001 - a bug costs one request its answer, not the association
        frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
        log.error("commitment_failed", error=type(error).__name__, frames=frames)  # noqa: TRY400 - no message, see store
        return comment_on(PROCESSING_FAILURE, f"internal error ({type(error).__name__})")
    log.warning("commitment_refused", status=f"0x{code:04X}", why=message)
    return comment_on(code, message)


def _ask_back(association: GuardedAssociation, report: CommitmentReport, seconds: float) -> int | None:
    """Send a request as the association's acceptor, and wait for the answer.

    What the peer asks meanwhile is served here: the reactor stands still, since it would take the answer.
    """
    context = next((one for one in association.accepted_contexts if one.abstract_syntax == PUSH_MODEL), None)
    if context is None or context.context_id is None:
        return None
    syntax = UID(context.transfer_syntax[0])
    encoded = encode(event_information(report), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    request = N_EVENT_REPORT()
    request.MessageID = 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = PUSH_MODEL, PUSH_MODEL_INSTANCE
    request.EventTypeID = event_type(report)
    request.EventInformation = BytesIO(encoded or b"")
    deadline = time.monotonic() + seconds
    with association.stopped(deadline) as is_ours:
        if not is_ours:
            return None
        association.dimse.send_msg(request, context.context_id)
        while association.is_established and not association.peer_ends and time.monotonic() < deadline:
            try:
                context_id, message = association.dimse.msg_queue.get(timeout=0.1)
            except Empty:
                continue
            if isinstance(message, N_EVENT_REPORT) and message.is_valid_response:
                return None if message.Status is None else int(message.Status)
            if message is not None and context_id is not None:
                association._serve_request(message, context_id)  # noqa: SLF001 - what the reactor does with it
    return None
