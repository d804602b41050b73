"""Who comes in, and what may be asked for inside: the answer to an association request (PS3.8 section 9.3)."""

import ssl
from collections.abc import Callable, Sequence

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from triage_agent.dimse.contexts import VERIFICATION
from triage_agent.dimse.limits import AssociationLimits, Seats
from triage_agent.dimse.offer import Offer
from triage_agent.dimse.peers import AccessPolicy, Grant
from triage_agent.dimse.services import Service
from triage_agent.dimse.throttle import Throttle
from triage_agent.dimse.trouble import trouble
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.ports import Clock
from triage_agent.domain.vocabulary import AuditAction

log = structlog.get_logger(__name__)

# PS3.8 table 9-21: rejected permanent, by the service user, because; or rejected transient, by the service provider
# (presentation), because.
_CALLING_AE_TITLE_NOT_RECOGNIZED = 3
_CALLED_AE_TITLE_NOT_RECOGNIZED = 7
_LOCAL_LIMIT_EXCEEDED = 2

NO_HANDSHAKE = "TLS handshake failed"
NOTHING_PERMITTED = "nothing that it proposed is permitted"

_REPORTS = 10  # of one address's rejections for one reason are audited and logged in each minute
_WINDOW_SECONDS = 60.0


def certificate_names(association: Association) -> frozenset[str]:
    """Whom the peer's certificate names, in lower case; nobody without TLS or without a certificate."""
    wire = association.dul.socket
    connection = wire.socket if wire is not None else None
    if not isinstance(connection, ssl.SSLSocket):
        return frozenset()
    from triage_agent.dimse.certificates import names_in  # noqa: PLC0415 - nobody else needs what reads certificates

    certificate = connection.getpeercert(binary_form=True)
    return names_in(certificate) if certificate else frozenset()


class Door:
    """Answers association requests, and reports those it rejects."""

    def __init__(
        self,
        ae_title: str,
        *,
        policy: AccessPolicy,
        audit: Callable[[AuditEvent], None],
        clock: Clock,
        rejected: Callable[[str], None],
        commits: bool = False,
        services: Sequence[Service] = (),
        seats: Seats | None = None,
    ) -> None:
        """`commits`: there is somebody who serves storage commitment; `services` are served besides.

        `seats` counts associations; by default those of this process.
        """
        self._ae_title = ae_title.strip()
        self._policy = policy
        self._audit = audit
        self._clock = clock
        self._rejected = rejected
        self._offer = Offer(services, commits=commits)
        self._rejections = Throttle(_REPORTS, _WINDOW_SECONDS)
        self._limits = seats or AssociationLimits()

    @property
    def for_anybody(self) -> PresentationContext:
        """What an association gets before it is known whose it is."""
        return self._offer.known[VERIFICATION]

    def on_requested(self, event: evt.Event) -> None:
        """Reject who is unknown (PS3.8 section 9.3.4), and offer the others what they may use."""
        association = event.assoc
        request = association.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            association.acse.send_abort(0x02)
            return
        calling, address = str(request.calling_ae_title).strip(), association.requestor.address
        grant = self._policy.admit(calling, address, certificate_names(association))
        if not isinstance(grant, Grant):
            self._reject(event, _CALLING_AE_TITLE_NOT_RECOGNIZED, grant)
        elif str(request.called_ae_title).strip() != self._ae_title:
            self._reject(event, _CALLED_AE_TITLE_NOT_RECOGNIZED, "called AE title not recognized")
        elif (reason := self._limits.enter(grant.peers, association)) is not None:
            self._reject(event, _LOCAL_LIMIT_EXCEEDED, reason, for_now=True)
        else:
            proposed = {context.abstract_syntax for context in request.presentation_context_definition_list}
            usable = self._offer.usable(grant.may)
            association.acceptor.supported_contexts = [
                self._offer.known[uid] for uid in proposed if uid is not None and uid in usable
            ]
            if not proposed & usable and proposed & self._offer.known.keys():
                self._report_useless(calling, address)

    def _reject(self, event: evt.Event, diagnostic: int, reason: str, *, for_now: bool = False) -> None:
        association = event.assoc
        association.acse.send_reject(*((0x02, 0x03) if for_now else (0x01, 0x01)), diagnostic)
        self._report_rejection(event, reason)
        association.kill()  # returns when the rejection was sent; else the socket would be closed under it

    def on_rejected(self, event: evt.Event) -> None:
        """What pynetdicom rejects by itself: one association too many."""
        self._report_rejection(event, "too many associations")

    def on_handshake_failed(self, address: str, error: OSError) -> None:
        """A connection on which TLS did not come about, so that nobody knows who it was."""
        if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
            log.debug("tls_handshake_abandoned", address=address)  # a probe, or a port scanner
            return
        self._report(NO_HANDSHAKE, address, "", {"why": trouble(error)})

    def _report_useless(self, calling: str, address: str) -> None:
        """An association that is accepted, with every context refused for want of a permission: no use to anybody."""
        self._rejected(NOTHING_PERMITTED)
        held_back = self._rejections.admit(f"{address} {NOTHING_PERMITTED}")
        if held_back is not None:
            log.warning(
                "association_permitted_nothing",
                calling_ae_title=calling,
                address=address,
                remedy="give the peer what it needs by may in its [[dicom.peers]]",
                held_back=held_back,
            )

    def _report_rejection(self, event: evt.Event, reason: str) -> None:
        request, address = event.assoc.requestor.primitive, event.assoc.requestor.address
        called = str(getattr(request, "called_ae_title", "")).strip()
        calling = str(getattr(request, "calling_ae_title", "")).strip()
        self._report(reason, address, calling, {"called_ae_title": called})

    def _report(self, reason: str, address: str, calling: str, more: dict[str, str]) -> None:
        self._rejected(reason)
        held_back = self._rejections.admit(f"{address} {reason}")
        if held_back is None:
            return
        detail = {"address": address, **more, "reason": reason, "held_back": held_back}
        log.warning("association_rejected", calling_ae_title=calling, **detail)
        try:
            self._audit(
                AuditEvent(at=self._clock(), action=AuditAction.ASSOCIATION_REJECTED, actor=calling, detail=detail)
            )
        except WorklistUnavailableError:
            log.warning("rejection_not_audited", calling_ae_title=calling)
