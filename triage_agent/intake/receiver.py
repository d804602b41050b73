"""Takes one instance from the wire to the worklist: header, spool, registration, in that order."""

from contextlib import closing
from dataclasses import asdict, dataclass

import structlog

from triage_agent.domain.audit import AuditEvent
from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.ports import Clock, Registered, Worklist
from triage_agent.domain.priorities import STANDARD, PriorityWords
from triage_agent.domain.study import CompletenessRule, InstanceHeader, ReceivedInstance
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.intake.durable import Buffer
from triage_agent.intake.header import read_header
from triage_agent.intake.incoming import Incoming, Memory, Request
from triage_agent.intake.keeper import Keeper
from triage_agent.intake.spool import Stored

log = structlog.get_logger(__name__)

_MEMORY = 32 << 20  # bytes, for all data sets that come at once; those that find none left go to disk as they come
OTHER_BYTES = "the same SOP Instance UID came before with other bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of an instance that may now be acknowledged."""

    outcome: Registered
    header: InstanceHeader
    path: str


class Receiver:
    """What the DICOM server hands instances to; safe to call from many threads."""

    def __init__(
        self,
        spool: Keeper,
        worklist: Worklist,
        rule: CompletenessRule,
        clock: Clock,
        *,
        words: PriorityWords = STANDARD,
    ) -> None:
        self._spool = spool
        self._worklist = worklist
        self._rule = rule
        self._clock = clock
        self._words = words
        self._memory = Memory(_MEMORY)

    def begin(self, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, source: str) -> Incoming:
        """What takes the fragments of a data set that is going to come; `keep` it then, and close it in any case."""
        request = Request(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            source=source,
        )
        return Incoming(self._spool, request, self._memory)

    def receive(
        self, encoded: Buffer, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str, source: str
    ) -> Received:
        """As `keep`, for an encoded data set that is here as a whole."""
        incoming = self.begin(
            transfer_syntax_uid=transfer_syntax_uid,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            source=source,
        )
        with closing(incoming):
            incoming.write(encoded)
            return self.keep(incoming)

    def keep(self, incoming: Incoming) -> Received:
        """Keep and register a data set that has come; returns when both are durable, so that it can be acknowledged.

        Raises:
            InvalidDatasetError: it lacks its identifiers; its bytes are in quarantine, and that is audited.
            StorageExhaustedError: there is no room for it.
            WorklistUnavailableError: the database is away; the file stays and is found again.
        """
        request = incoming.request
        try:
            header = read_header(
                incoming.view(),
                request.transfer_syntax_uid,
                request.sop_class_uid,
                request.sop_instance_uid,
                words=self._words,
            )
        except InvalidDatasetError as error:
            self._quarantine(incoming, error.message)
            raise
        with structlog.contextvars.bound_contextvars(study_instance_uid=header.study_instance_uid):
            return self._register(header, incoming.keep(header), request.source)

    def _register(self, header: InstanceHeader, stored: Stored, source: str) -> Received:
        received = ReceivedInstance(
            header=header,
            path=stored.path,
            sha256=stored.sha256,
            size=stored.size,
            source=source,
            received_at=self._clock(),
        )
        outcome = self._worklist.register(received, self._rule)
        path = stored.path
        if outcome is Registered.CONFLICT:
            note = {"sop_instance_uid": header.sop_instance_uid, "source": source, "at": received.received_at}
            path = self._spool.set_aside(stored.path, OTHER_BYTES, note)
            log.warning("instance_conflict", sop_instance_uid=header.sop_instance_uid, kept=path)
        return Received(outcome=outcome, header=header, path=path)

    def _quarantine(self, incoming: Incoming, reason: str) -> None:
        """Keep the bytes and say so; only UIDs that are UIDs go further than the bytes themselves."""
        now = self._clock()
        request = asdict(incoming.request)
        source = request.pop("source")
        named = {name: uid if is_uid(uid) else "invalid" for name, uid in request.items()}
        path = incoming.quarantine(reason, {**named, "source": source, "at": now})
        detail = {**named, "reason": reason, "path": path, "size": incoming.size}
        self._worklist.record_audit(
            AuditEvent(at=now, action=AuditAction.INSTANCE_QUARANTINED, actor=source, detail=detail)
        )
        log.warning("instance_quarantined", reason=reason, kept=path)
