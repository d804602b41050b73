"""Wires the listener for orders from the settings: who may send, how messages are read, who keeps what they say."""

import socket
from collections.abc import Callable
from functools import partial

import structlog

from triage_agent.builders import build_tls
from triage_agent.dimse.handshake import shake_hands, take_over
from triage_agent.dimse.peers import STORE, AccessPolicy, Peer
from triage_agent.dimse.throttle import Throttle
from triage_agent.dimse.tls import TlsKeeper
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import ConfigurationError, WorklistUnavailableError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.hl7in.desk import DeskTerms, Hl7Desk
from triage_agent.hl7in.listener import ListenTerms, MllpListener
from triage_agent.hl7in.patients import Reading
from triage_agent.ops.metrics import Metrics
from triage_agent.sections.hl7_listen import Hl7ListenSettings
from triage_agent.settings import Settings

log = structlog.get_logger(__name__)

_HANDSHAKE_SECONDS = 10.0
_REPORTS, _WINDOW_SECONDS = 10, 60.0  # of one address's rejections are logged and audited in each minute
_ANYBODY = "HL7"  # MLLP names nobody: peers are known by where they call from


def build_order_listener(settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock) -> MllpListener | None:
    """What listens for orders; None where the site has no [hl7.listen].

    Raises:
        ConfigurationError: certificates are wanted and cannot be used.
    """
    listen = settings.hl7.listen
    if listen is None:
        return None
    desk = Hl7Desk(
        worklist,
        clock,
        DeskTerms(
            institution=settings.institution,
            processing_id=listen.processing_id.upper(),
            codec=listen.unstated_charset,
            reading=Reading(
                accession=listen.accession_place,
                assigning_authority=listen.assigning_authority,
                words=settings.study.priority_words.words(),
            ),
            reissue=listen.reissue_after_merge,
        ),
        answered=lambda code: metrics.hl7_answers.labels(code).inc(),
        left_out=lambda what, times: metrics.hl7_left_out.labels(what).inc(times),
    )
    terms = ListenTerms(
        host=listen.host,
        port=listen.port,
        max_connections=listen.max_connections,
        timeout_seconds=listen.timeout_seconds,
        admits=_admission(settings, listen),
        rejected=_rejections(worklist, metrics, clock),
        secure=_security(settings) if listen.tls else None,
    )
    return MllpListener(terms, desk)


def _admission(settings: Settings, listen: Hl7ListenSettings) -> Callable[[str], bool]:
    """Whether an address is one of the peers', or in one of the networks."""
    hosts = [(peer.name, peer.host, peer.port) for peer in settings.hl7.peers if peer.name in listen.peers]
    may = frozenset({STORE})
    peers = [Peer(name=name, ae_title=_ANYBODY, host=host, port=port, may=may) for name, host, port in hosts]
    peers.append(Peer(name="networks", ae_title=_ANYBODY, host="", port=0, may=may, networks=listen.networks))
    policy = AccessPolicy(peers)
    return lambda address: policy.permissions(_ANYBODY, address) is not None


def _rejections(worklist: Worklist, metrics: Metrics, clock: Clock) -> Callable[[str], None]:
    throttle = Throttle(_REPORTS, _WINDOW_SECONDS)

    def rejected(address: str) -> None:
        metrics.rejected.labels("HL7 sender not known").inc()
        if (held_back := throttle.admit(address)) is None:
            return
        log.warning("hl7_connection_rejected", address=address, held_back=held_back)
        detail = {"address": address, "held_back": held_back}
        try:
            worklist.record_audit(AuditEvent(at=clock(), action=AuditAction.HL7_REJECTED, actor=address, detail=detail))
        except WorklistUnavailableError:
            log.warning("rejection_not_audited", address=address)

    return rejected


def _security(settings: Settings) -> Callable[[socket.socket], socket.socket]:
    keeper = build_tls(settings)
    if keeper is None:
        raise ConfigurationError("[hl7.listen] tls = true needs [dicom.tls]", remedy="add its certificate, key and ca")
    keeper.server()  # at the start, not at the first message
    return partial(_secured, keeper)


def _secured(keeper: TlsKeeper, connection: socket.socket) -> socket.socket:
    secured = take_over(connection, keeper.server())
    shake_hands(secured, _HANDSHAKE_SECONDS)
    return secured
