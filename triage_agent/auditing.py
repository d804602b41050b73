"""Wires the audit log from the settings: what seals it, anchors it and sends it, beside whatever a process does."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

import structlog

from triage_agent.audit.anchors import open_signer
from triage_agent.audit.forwarding import Forwarder
from triage_agent.audit.keeping import Anchorer, Sealer
from triage_agent.audit.messages import Patient, message
from triage_agent.audit.queries import QueryLog
from triage_agent.audit.recipes import MESSAGES
from triage_agent.audit.syslog import Receiver, frame, send
from triage_agent.audit.verified import standing
from triage_agent.audit_parts import SYSLOG, anchor_key, anchors_file, message_source
from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.ops.audit_gauges import AuditGauges
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.worker import Loop, in_time
from triage_agent.worklist.audit_log import SqlAuditLog, audit_log_of

log = structlog.get_logger(__name__)

_SEAL_SECONDS = 1.0  # between two looks: the lag of the chain behind who acts
_ANCHOR_SECONDS = 5.0  # between two looks whether it is time
_COUNT_SECONDS = 30.0  # between two looks whether an hour of somebody's searches is over
_STOP_SECONDS = 2.0  # for what is in hand: a receiver may be slow, and nothing is lost


@contextmanager
def keep_audit(
    settings: Settings, worklist: Worklist, metrics: Metrics, clock: Clock, queries: QueryLog
) -> Iterator[None]:
    """Seal, anchor and send until the end of the block; what is counted and recorded last is sealed at the end.

    Raises:
        ConfigurationError: the key of the anchors, or a certificate, cannot be used.
    """
    audit_log = audit_log_of(worklist)
    if audit_log is None:
        yield
        return
    reader = SYSLOG if settings.audit.syslog else None
    metrics.add(AuditGauges(audit_log, reader, clock, partial(_standing, audit_log)))
    sealer = Sealer(audit_log, clock, lambda _number: None)
    loops = [
        Loop("audit-seal", sealer.step, idle_seconds=_SEAL_SECONDS),
        Loop("audit-queries", queries.step, idle_seconds=_COUNT_SECONDS),
    ]
    anchorer = build_anchorer(settings, worklist, audit_log, clock)
    if anchorer is not None:
        loops.append(Loop("audit-anchor", anchorer.step, idle_seconds=_ANCHOR_SECONDS))
    forwarder = build_forwarder(settings, audit_log, clock)
    if forwarder is not None:
        loops.append(Loop("audit-syslog", forwarder.step, idle_seconds=_SEAL_SECONDS))
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        stop_by = time.monotonic() + _STOP_SECONDS
        for loop in loops:
            loop.join(max(0.0, stop_by - time.monotonic()))
        in_time(lambda: _end(queries, sealer))


def _standing(audit_log: SqlAuditLog) -> tuple[bool, datetime | None]:
    found = standing(audit_log)
    return found.broken is not None, found.whole.at if found.whole else None


def build_anchorer(settings: Settings, worklist: Worklist, audit_log: SqlAuditLog, clock: Clock) -> Anchorer | None:
    """What signs the chain's head from time to time; None where the site wants none.

    Raises:
        ConfigurationError: the key that the site names cannot be used.
    """
    if not settings.audit.anchor_minutes:
        return None
    own = settings.audit.anchor_key is None
    try:
        signer = open_signer(anchor_key(settings), make=own)
    except ConfigurationError as error:
        if not own:
            raise
        log.error("not_anchored", error=error.message)  # noqa: TRY400 - a full disk is no reason to receive nothing
        return None
    return Anchorer(
        audit_log,
        signer=signer,
        anchors=anchors_file(settings),
        every=timedelta(minutes=settings.audit.anchor_minutes),
        record=worklist.record_audit,
        actor=_process_name(),
        clock=clock,
    )


def build_receiver(settings: Settings) -> Receiver | None:
    """Where audit messages go; None where they go nowhere."""
    given = settings.audit
    if (address := given.syslog_address) is None:
        return None
    return Receiver(
        scheme=address[0],
        host=address[1],
        port=address[2],
        ca=given.syslog_ca,
        certificate=given.syslog_certificate,
        key=given.syslog_key,
        seconds=given.syslog_seconds,
    )


def build_forwarder(settings: Settings, audit_log: SqlAuditLog, clock: Clock) -> Forwarder | None:
    """What sends audit messages by syslog; None where the site wants none.

    Raises:
        ConfigurationError: a certificate cannot be used.
    """
    given, source, receiver = settings.audit, message_source(settings), build_receiver(settings)
    if receiver is None:
        return None
    if receiver.scheme == "tls":
        receiver.context()  # so that a wrong file is told of at the start

    def framed(position: int, event: AuditEvent, patient: tuple[str, str] | None) -> bytes | None:
        made = message(event, source, Patient(*patient) if patient else None)
        if made is None:
            return None
        return frame(
            made,
            position=position,
            at=event.at,
            host=source.host,
            process=os.getpid(),
            facility=given.syslog_facility,
            failed=bool(MESSAGES[event.action.value].outcome),
        )

    return Forwarder(
        audit_log,
        name=SYSLOG,
        owner=_process_name(),
        frame=framed,
        send=partial(send, receiver),
        clock=clock,
    )


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _end(queries: QueryLog, sealer: Sealer) -> None:
    try:
        queries.close()
        while sealer.step():
            pass
    except TriageError:
        return  # the next start seals it
