"""The server's side of Unified Procedure Steps over DIMSE (PS3.4 annex CC); what is allowed is `steps.desk`'s.

`query` in a peer's `may` lets it read and subscribe itself; `ups` lets it post, claim, change, cancel, and subscribe
others. Reports to subscribers leave on associations of their own (`ups_client`).
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, generate_uid
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_GET, N_SET

from triage_agent.dimse.commitment_data import read_short_data_set
from triage_agent.dimse.peers import QUERY, UPS, AccessPolicy
from triage_agent.dimse.services import Serve
from triage_agent.dimse.statuses import comment_on
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Clock
from triage_agent.domain.quiet import quiet
from triage_agent.domain.workitem import Verdict, Workitems
from triage_agent.matching.data_sets import answer
from triage_agent.matching.query import encodings_of, read_query
from triage_agent.steps.data import EVENT, PULL, PUSH, WATCH, text_of
from triage_agent.steps.data import QUERY as UPS_QUERY
from triage_agent.steps.desk import INVALID_ARGUMENT, NO_SUCH_WORKITEM, NOT_AUTHORIZED, Caller, Desk, Reply

log = structlog.get_logger(__name__)

# PS3.4 table C.4-1 as CC.2.8 has it, and PS3.7 annex C.
PENDING = 0xFF00
PENDING_WITHOUT_SOME_KEYS = 0xFF01
CANCELED = 0xFE00
OUT_OF_RESOURCES = 0xA700
NO_MATCH_FOR_CLASS = 0xA900
CANNOT_PROCESS = 0xC000
SOME_NOT_SUPPORTED = 0x0001
PROCESSING_FAILURE = 0x0110
NO_SUCH_SOP_CLASS = 0x0118
NO_SUCH_ACTION = 0x0123

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = range(1, 6)  # Action Type IDs

_NOT_OURS = Reply(NO_SUCH_SOP_CLASS, "workitems are instances of UPS Push")

Status = Dataset | int


class UpsDesk:
    """Serves the UPS SOP classes.

    Args:
        peers: the AE titles of those that can be called, by their names: who can be told of events, and has our
            reports.
        told: the AE titles of others that can be told.
        answered: told kind and status of every response but those of queries.
        asked: told who searches or reads workitems, and from where, before anything is shown.
    """

    def __init__(
        self,
        workitems: Workitems,
        *,
        ae_title: str,
        policy: AccessPolicy,
        peers: Mapping[str, str],
        clock: Clock,
        told: frozenset[str] = frozenset(),
        answered: Callable[[str, int], None] = lambda _kind, _status: None,
        asked: Callable[[str, str], None] = lambda _caller, _address: None,
    ) -> None:
        self._policy = policy
        self._asked = asked
        self._answered = answered
        receivers = told | set(peers.values())
        self._desk = Desk(workitems, ae_title=ae_title, titles=peers, receivers=receivers, clock=clock)

    @property
    def sop_classes(self) -> Mapping[UID, frozenset[str]]:
        """See `Service.sop_classes`."""
        reads = frozenset({QUERY, UPS})
        return {PUSH: frozenset({UPS}), PULL: reads, WATCH: reads, EVENT: reads, UPS_QUERY: reads}

    @property
    def handlers(self) -> Mapping[evt.InterventionEvent, Serve]:
        """See `Service.handlers`."""
        return {
            evt.EVT_C_FIND: self.on_find,
            evt.EVT_N_GET: self.on_get,
            evt.EVT_N_SET: self.on_set,
            evt.EVT_N_CREATE: self.on_create,
            evt.EVT_N_ACTION: self.on_action,
        }

    def on_find(self, event: evt.Event) -> Iterator[tuple[Status, Dataset | None]]:
        """Answer a C-FIND (PS3.4 section CC.2.8)."""
        try:
            yield from self._find(event)
        except InvalidDatasetError as error:
            yield comment_on(NO_MATCH_FOR_CLASS, error.message), None
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            yield comment_on(OUT_OF_RESOURCES, error.message), None
        except Exception as error:  # noqa: BLE001 - a bug costs one query its answer, not the association
            _told(error)
            yield comment_on(CANNOT_PROCESS, f"internal error ({type(error).__name__})"), None

    def on_get(self, event: evt.Event) -> tuple[Status, Dataset | None]:
        """Answer an N-GET (PS3.4 section CC.2.7)."""
        found: list[Dataset] = []
        status = self._guarded("N-GET", lambda: self._get(event, found))
        return status, found[0] if found else None

    def on_set(self, event: evt.Event) -> tuple[Status, Dataset | None]:
        """Answer an N-SET (PS3.4 section CC.2.6)."""
        return self._guarded("N-SET", lambda: self._set(event)), None

    def on_create(self, event: evt.Event) -> tuple[Status, Dataset | None]:
        """Answer an N-CREATE (PS3.4 section CC.2.5)."""
        made: list[Dataset] = []
        status = self._guarded("N-CREATE", lambda: self._create(event, made))
        return status, made[0] if made else None

    def on_action(self, event: evt.Event) -> tuple[Status, Dataset | None]:
        """Answer an N-ACTION (PS3.4 sections CC.2.1 to CC.2.3)."""
        return self._guarded("N-ACTION", lambda: self._action(event)), None

    def _find(self, event: evt.Event) -> Iterator[tuple[Status, Dataset | None]]:
        request = event.request
        if not isinstance(request, C_FIND) or not self._caller(event).reads:
            yield comment_on(NOT_AUTHORIZED, "this peer may not ask for workitems"), None
            return
        identifier = _read(event, request.Identifier)
        with quiet():  # pydicom's reader warns of a character set that it does not know, with its name
            query = read_query(identifier, None, encodings_of(identifier)[1])
        pending = PENDING_WITHOUT_SOME_KEYS if query.ignores else PENDING
        self._note(event)
        for shown in self._desk.find(query):
            if event.is_cancelled:
                yield CANCELED, None
                return
            yield pending, answer(shown, query)

    def _get(self, event: evt.Event, found: list[Dataset]) -> Reply:
        request = event.request
        if not isinstance(request, N_GET) or not self._caller(event).reads:
            return Reply(NOT_AUTHORIZED, "this peer may not read workitems")
        if request.RequestedSOPClassUID != PUSH:
            return _NOT_OURS
        self._note(event)
        shown = self._desk.get(str(request.RequestedSOPInstanceUID))
        if shown is None:
            return NO_SUCH_WORKITEM
        wanted = _tags(request.AttributeIdentifierList)
        if not wanted:
            found.append(shown)
            return Reply(Verdict.DONE)
        chosen = Dataset()
        for tag in wanted:
            if tag in shown:
                chosen.add(shown[tag])
        found.append(chosen)
        return Reply(Verdict.DONE if len(chosen) == len(set(wanted)) else SOME_NOT_SUPPORTED)

    def _set(self, event: evt.Event) -> Reply:
        request = event.request
        if not isinstance(request, N_SET) or not self._caller(event).changes:
            return Reply(NOT_AUTHORIZED, "this peer may not change workitems")
        if request.RequestedSOPClassUID != PUSH:
            return _NOT_OURS
        given = _read(event, request.ModificationList)
        return self._desk.update(str(request.RequestedSOPInstanceUID), given, self._caller(event))

    def _create(self, event: evt.Event, made: list[Dataset]) -> Reply:
        request = event.request
        if not isinstance(request, N_CREATE) or not self._caller(event).changes:
            return Reply(NOT_AUTHORIZED, "this peer may not post workitems")
        if request.AffectedSOPClassUID != PUSH:
            return _NOT_OURS
        uid = str(request.AffectedSOPInstanceUID or generate_uid(prefix=None))
        reply = self._desk.create(uid, _read(event, request.AttributeList), self._caller(event))
        if reply.status == Verdict.DONE and request.AffectedSOPInstanceUID is None:
            named = Dataset()
            named.AffectedSOPInstanceUID = uid  # pynetdicom takes it from here into the response's command set
            made.append(named)
        return reply

    def _action(self, event: evt.Event) -> Reply:
        request = event.request
        if not isinstance(request, N_ACTION):
            return Reply(PROCESSING_FAILURE, "not an N-ACTION request")
        if request.RequestedSOPClassUID != PUSH:
            return _NOT_OURS
        # Only a wish to cancel needs none.
        bare = request.ActionInformation is None and request.ActionTypeID == REQUEST_CANCEL
        information = Dataset() if bare else _read(event, request.ActionInformation)
        uid, caller = str(request.RequestedSOPInstanceUID or ""), self._caller(event)
        return self._act(request.ActionTypeID, uid, information, caller)

    def _act(self, action: int | None, uid: str, information: Dataset, caller: Caller) -> Reply:
        desk = self._desk
        if action == CHANGE_STATE:
            return desk.change_state(uid, information, caller)
        if action == REQUEST_CANCEL:
            return desk.request_cancel(uid, information, caller)
        receiver = text_of(information, "ReceivingAE")
        if action == SUBSCRIBE:
            return desk.subscribe(uid, receiver, information, caller)
        if action == UNSUBSCRIBE:
            return desk.unsubscribe(uid, receiver, caller)
        if action == SUSPEND:
            return desk.suspend(uid, receiver, caller)
        return Reply(NO_SUCH_ACTION, "no such action type")

    def _note(self, event: evt.Event) -> None:
        requestor = event.assoc.requestor
        self._asked(str(requestor.ae_title).strip(), str(requestor.address))

    def _caller(self, event: evt.Event) -> Caller:
        requestor = event.assoc.requestor
        title, address = str(requestor.ae_title), str(requestor.address)
        changes = bool(self._policy.names(title, address, UPS))
        reads = changes or bool(self._policy.names(title, address, QUERY))
        return Caller(name=title.strip(), reads=reads, changes=changes)

    def _guarded(self, kind: str, work: Callable[[], Reply]) -> Status:
        """What `work` answers, or the status of what was wrong."""
        try:
            reply = work()
        except InvalidDatasetError as error:
            reply = Reply(INVALID_ARGUMENT, error.message)
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            reply = Reply(Verdict.TOO_MUCH, error.message)
        except Exception as error:  # noqa: BLE001 - a bug costs one request its answer, not the association
            _told(error)
            reply = Reply(PROCESSING_FAILURE, f"internal error ({type(error).__name__})")
        self._answered(kind, int(reply.status))
        return comment_on(reply.status, reply.why) if reply.why else int(reply.status)


def _told(error: Exception) -> None:
    """What happened and where, never an error's message, which may quote what a patient is called."""
    frames = [str(frame) for frame in traceback.extract_tb(error.__traceback__)]
    log.error("ups_failed", error=type(error).__name__, frames=frames)


def _read(event: evt.Event, encoded: BytesIO | None) -> Dataset:
    """A request's data set.

    Raises:
        InvalidDatasetError: there is none, or it cannot be read.
        StorageExhaustedError: it is longer, or has more items, than a workitem's: reading deep nesting takes long.
    """
    return read_short_data_set(encoded, UID(event.context.transfer_syntax))


def _tags(wanted: object) -> list[int]:
    """An Attribute Identifier List, which has one tag or many."""
    if wanted is None:
        return []
    return [int(Tag(tag)) for tag in wanted] if isinstance(wanted, list) else [int(Tag(wanted))]  # type: ignore[arg-type]
