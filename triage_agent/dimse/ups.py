"""The server's side of Unified Procedure Steps (PS3.4 annex CC): query, read, claim, complete, subscribe, post.

`query` in a peer's `may` lets it read and subscribe itself; `ups` lets it post, claim, change, cancel, and subscribe
others. Reports to subscribers leave on associations of their own (`ups_client`).
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from itertools import islice

import structlog
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, generate_uid
from pynetdicom import evt
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_GET, N_SET

from triage_agent.dimse.commitment_data import read_short_data_set
from triage_agent.dimse.peers import QUERY, UPS, AccessPolicy
from triage_agent.dimse.query_matching import answer, matches, values_of
from triage_agent.dimse.services import Serve
from triage_agent.dimse.statuses import comment_on
from triage_agent.dimse.ups_actions import REQUEST_CANCEL, Actions
from triage_agent.dimse.ups_data import EVENT, PULL, PUSH, WATCH, data_set, settable, text_of
from triage_agent.dimse.ups_data import QUERY as UPS_QUERY
from triage_agent.domain.errors import InvalidDatasetError, StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.ports import Clock
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import PRIORITIES, StepState, Verdict, Workitem, WorkitemQuery, Workitems

log = structlog.get_logger(__name__)

# PS3.4 table C.4-1 as CC.2.8 has it, and PS3.7 annex C.
PENDING = 0xFF00
CANCELED = 0xFE00
OUT_OF_RESOURCES = 0xA700
NO_MATCH_FOR_CLASS = 0xA900
CANNOT_PROCESS = 0xC000
SOME_NOT_SUPPORTED = 0x0001
PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115
NO_SUCH_SOP_CLASS = 0x0118
MISSING_ATTRIBUTE = 0x0120
NOT_AUTHORIZED = 0x0124
NOT_SCHEDULED = 0xC309

_AT_ONCE = 100  # workitems looked at together
_MOST = 100_000  # of one query
_INSTANCES = ("InputInformationSequence", "UnifiedProcedureStepPerformedProcedureSequence")
_MUST_HAVE = (  # PS3.4 table CC.2.5-3: types 1 of an N-CREATE that no one else can supply
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
    "ProcedureStepState",
)

Status = Dataset | int


class UpsDesk:
    """Serves the UPS SOP classes.

    Args:
        peers: the AE titles of those that can be called, by their names: who can be told of events, and has our
            reports.
        answered: told kind and status of every response but those of queries.
    """

    def __init__(
        self,
        workitems: Workitems,
        *,
        ae_title: str,
        policy: AccessPolicy,
        peers: Mapping[str, str],
        clock: Clock,
        answered: Callable[[str, int], None] = lambda _kind, _status: None,
    ) -> None:
        self._workitems = workitems
        self._ae_title = ae_title
        self._policy = policy
        self._clock = clock
        self._answered = answered
        self._titles = peers
        self._actions = Actions(workitems, peers.values(), clock)

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
        if not isinstance(request, C_FIND) or not self._allowed(event, QUERY, UPS):
            yield comment_on(NOT_AUTHORIZED, "this peer may not ask for workitems"), None
            return
        keys = _read(event, request.Identifier)
        objects = any(name in keys for name in _INSTANCES)
        uids = iter(self._workitems.matching(_query(keys), _MOST))
        while some := list(islice(uids, _AT_ONCE)):
            for item in self._workitems.workitems(some, objects=objects):
                if event.is_cancelled:
                    yield CANCELED, None
                    return
                shown = self._shown(item)
                if _match(shown, keys):
                    yield PENDING, answer(shown, keys)

    def _get(self, event: evt.Event, found: list[Dataset]) -> Status:
        request = event.request
        if not isinstance(request, N_GET) or not self._allowed(event, QUERY, UPS):
            return comment_on(NOT_AUTHORIZED, "this peer may not read workitems")
        item = self._one(request.RequestedSOPClassUID, request.RequestedSOPInstanceUID, objects=True)
        if not isinstance(item, Workitem):
            return item
        shown = self._shown(item)
        wanted = _tags(request.AttributeIdentifierList)
        if not wanted:
            found.append(shown)
            return int(Verdict.DONE)
        chosen = Dataset()
        for tag in wanted:
            if tag in shown:
                chosen.add(shown[tag])
        found.append(chosen)
        return int(Verdict.DONE) if len(chosen) == len(set(wanted)) else SOME_NOT_SUPPORTED

    def _shown(self, item: Workitem) -> Dataset:
        return data_set(item, ae_title=self._ae_title, titles=self._titles)

    def _set(self, event: evt.Event) -> Status:
        request = event.request
        if not isinstance(request, N_SET) or not self._allowed(event, UPS):
            return comment_on(NOT_AUTHORIZED, "this peer may not change workitems")
        item = self._one(request.RequestedSOPClassUID, request.RequestedSOPInstanceUID)
        if not isinstance(item, Workitem):
            return item
        given = _read(event, request.ModificationList)
        attributes, whole = settable(given, reading=item.study is not None)
        transaction = text_of(given, "TransactionUID")
        verdict = self._workitems.update(item.uid, transaction, attributes, _caller(event), self._clock())
        return int(Verdict.COERCED if verdict is Verdict.DONE and not whole else verdict)

    def _create(self, event: evt.Event, made: list[Dataset]) -> Status:
        request = event.request
        if not isinstance(request, N_CREATE) or not self._allowed(event, UPS):
            return comment_on(NOT_AUTHORIZED, "this peer may not post workitems")
        if request.AffectedSOPClassUID != PUSH:
            return comment_on(NO_SUCH_SOP_CLASS, "workitems are instances of UPS Push")
        uid = str(request.AffectedSOPInstanceUID or generate_uid(prefix=None))
        if not is_uid(uid):
            return comment_on(INVALID_ARGUMENT, "the workitem's UID is none")
        given = _read(event, request.AttributeList)
        if (refusal := _refusal(given)) is not None:
            return refusal
        attributes, _ = settable(given, reading=False)
        verdict = self._workitems.create(uid, attributes, _caller(event), self._clock())
        if verdict is Verdict.DONE and request.AffectedSOPInstanceUID is None:
            named = Dataset()
            named.AffectedSOPInstanceUID = uid  # pynetdicom takes it from here into the response's command set
            made.append(named)
        return int(verdict)

    def _action(self, event: evt.Event) -> Status:
        request = event.request
        if not isinstance(request, N_ACTION):
            return comment_on(PROCESSING_FAILURE, "not an N-ACTION request")
        if request.RequestedSOPClassUID != PUSH:
            return comment_on(NO_SUCH_SOP_CLASS, "workitems are instances of UPS Push")
        # Only a wish to cancel needs none.
        bare = request.ActionInformation is None and request.ActionTypeID == REQUEST_CANCEL
        information = Dataset() if bare else _read(event, request.ActionInformation)
        return self._actions.act(
            request.ActionTypeID,
            str(request.RequestedSOPInstanceUID or ""),
            information,
            caller=_caller(event),
            changes=self._allowed(event, UPS),
            reads=self._allowed(event, QUERY, UPS),
        )

    def _one(self, sop_class_uid: UID | None, uid: UID | None, *, objects: bool = False) -> Workitem | Dataset:
        if sop_class_uid != PUSH:
            return comment_on(NO_SUCH_SOP_CLASS, "workitems are instances of UPS Push")
        found = self._workitems.workitems([str(uid)], objects=objects) if uid is not None and is_uid(str(uid)) else []
        return found[0] if found else comment_on(Verdict.UNKNOWN_WORKITEM, "no such workitem")

    def _allowed(self, event: evt.Event, *permissions: str) -> bool:
        requestor = event.assoc.requestor
        title, address = str(requestor.ae_title), str(requestor.address)
        return any(self._policy.names(title, address, permission) for permission in permissions)

    def _guarded(self, kind: str, work: Callable[[], Status]) -> Status:
        """What `work` answers, or the status of what was wrong."""
        try:
            status = work()
        except InvalidDatasetError as error:
            status = comment_on(INVALID_ARGUMENT, error.message)
        except (StorageExhaustedError, WorklistUnavailableError) as error:
            status = comment_on(Verdict.TOO_MUCH, error.message)
        except Exception as error:  # noqa: BLE001 - a bug costs one request its answer, not the association
            _told(error)
            status = comment_on(PROCESSING_FAILURE, f"internal error ({type(error).__name__})")
        self._answered(kind, status if isinstance(status, int) else int(status.Status))
        return status


def _refusal(given: Dataset) -> Dataset | None:
    """Why a workitem cannot be posted so."""
    if missing := next((name for name in _MUST_HAVE if not text_of(given, name)), None):
        return comment_on(MISSING_ATTRIBUTE, f"{missing} is missing")
    if text_of(given, "ProcedureStepState") != StepState.SCHEDULED:
        return comment_on(NOT_SCHEDULED, "a workitem begins as SCHEDULED")
    if text_of(given, "ScheduledProcedureStepPriority") not in PRIORITIES.values():
        return comment_on(INVALID_ARGUMENT, "the priority is none of HIGH, MEDIUM and LOW")
    return None


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


def _caller(event: evt.Event) -> str:
    return str(event.assoc.requestor.ae_title).strip()


def _tags(wanted: object) -> list[int]:
    """An Attribute Identifier List, which has one tag or many."""
    if wanted is None:
        return []
    return [int(Tag(tag)) for tag in wanted] if isinstance(wanted, list) else [int(Tag(wanted))]  # type: ignore[arg-type]


def _match(shown: Dataset, keys: Dataset) -> bool:
    try:
        return matches(shown, keys)
    except Exception as error:
        raise InvalidDatasetError(f"a key cannot be read ({type(error).__name__})") from error


def _query(keys: Dataset) -> WorkitemQuery:
    """What of the keys the database can look for by itself; the rest is compared afterwards.

    Raises:
        InvalidDatasetError: a key cannot be read.
    """
    try:
        states = values_of(keys, Tag("ProcedureStepState"))
        priorities = values_of(keys, Tag("ScheduledProcedureStepPriority"))
        return WorkitemQuery(
            uids=values_of(keys, Tag("SOPInstanceUID")),
            states=None if states is None else [one for one in StepState if one.value in states],
            priorities=None if priorities is None else [one for one in Priority if PRIORITIES[one] in priorities],
            study_instance_uids=values_of(keys, Tag("StudyInstanceUID")),
        )
    except Exception as error:
        raise InvalidDatasetError(f"a key cannot be read ({type(error).__name__})") from error
