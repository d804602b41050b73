"""What may be done to workitems, by whoever asks over DIMSE or HTTP: read, post, change, subscribe (PS3.4 annex CC).

Statuses are those of PS3.4 and PS3.7; each way to ask has its own words for them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from pydicom.dataset import Dataset

from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.ports import Clock
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import Priority
from triage_agent.domain.workitem import (
    FILTERED,
    GLOBAL,
    PRIORITIES,
    Attributes,
    StepState,
    Verdict,
    Workitem,
    WorkitemQuery,
    Workitems,
)
from triage_agent.matching.data_sets import is_match
from triage_agent.matching.query import Query
from triage_agent.steps.data import as_json, data_set, settable, text_of, wanted_state

# PS3.7 annex C, and PS3.4 tables CC.2.1-2 to CC.2.5-4.
INVALID_ARGUMENT = 0x0115
MISSING_ATTRIBUTE = 0x0120
NOT_AUTHORIZED = 0x0124
UNKNOWN_RECEIVER = 0xC308
NOT_SCHEDULED = 0xC309
NOT_APPROPRIATE = 0xC314

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
_REASONS = ("00741238", "0074100E", "0074100A", "0074100C")  # of a wish to cancel: why, and whom to ask
_FILTER_KEYS = frozenset({"00741200", "00741000", "00100020"})  # priority, state, patient
_STANDS_FOR_ALL = "that instance stands for all workitems"
_OF_A_SUBSCRIPTION = frozenset({"00741234", "00741230", "00080005"})  # receiving AE, deletion lock, character set


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        name: its AE title, or what stands for one.
        reads: it may look at workitems, and have itself told.
        changes: it may post, claim, change and cancel, and subscribe others.
    """

    name: str
    reads: bool = True
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, and why where it is not the standard's own reason."""

    status: int
    why: str = ""


NO_SUCH_WORKITEM = Reply(Verdict.UNKNOWN_WORKITEM, "no such workitem")
_MAY_NOT_CHANGE = Reply(NOT_AUTHORIZED, "this peer may not change workitems")


class Desk:
    """Serves workitems. Every method raises `WorklistUnavailableError` when the database is away."""

    def __init__(
        self,
        workitems: Workitems,
        *,
        ae_title: str,
        titles: Mapping[str, str],
        receivers: Collection[str],
        clock: Clock,
    ) -> None:
        """`titles` are those of destinations, by their names; `receivers` are the AE titles that can be told."""
        self._workitems = workitems
        self._ae_title = ae_title
        self._titles = titles
        self._receivers = frozenset(receivers)
        self._clock = clock

    def find(self, query: Query) -> Iterator[Dataset]:
        """The workitems that match, best first; what they refer to only where a key asks for it."""
        objects = any(key.keyword in _INSTANCES for key in query.keys)
        uids = iter(self._workitems.matching(_narrowed(query), _MOST))
        while some := list(islice(uids, _AT_ONCE)):
            for item in self._workitems.workitems(some, objects=objects):
                shown = self._shown(item)
                if is_match(shown, query):
                    yield shown

    def get(self, uid: str) -> Dataset | None:
        """A workitem with all that it says; None where there is none."""
        item = self._one(uid, objects=True)
        return None if item is None else self._shown(item)

    def update(self, uid: str, given: Dataset, caller: Caller, transaction: str = "") -> Reply:
        """Set attributes; `transaction` where it does not stand in what is given.

        Raises:
            InvalidDatasetError: an element cannot be read.
            StorageExhaustedError: it is more than we keep.
        """
        if not caller.changes:
            return _MAY_NOT_CHANGE
        item = self._one(uid)
        if item is None:
            return NO_SUCH_WORKITEM
        attributes, whole = settable(given, reading=item.study is not None)
        transaction = transaction or text_of(given, "TransactionUID")
        verdict = self._workitems.update(item.uid, transaction, attributes, caller.name, self._clock())
        return Reply(Verdict.COERCED if verdict is Verdict.DONE and not whole else verdict)

    def create(self, uid: str, given: Dataset, caller: Caller) -> Reply:
        """Post a workitem; raises as `update` does."""
        if not caller.changes:
            return Reply(NOT_AUTHORIZED, "this peer may not post workitems")
        if not is_uid(uid):
            return Reply(INVALID_ARGUMENT, "the workitem's UID is none")
        if uid in {GLOBAL, FILTERED}:
            return Reply(INVALID_ARGUMENT, _STANDS_FOR_ALL)
        if (refusal := _refusal(given)) is not None:
            return refusal
        attributes, _ = settable(given, reading=False)
        return Reply(self._workitems.create(uid, attributes, caller.name, self._clock()))

    def change_state(self, uid: str, information: Dataset, caller: Caller) -> Reply:
        """Claim, complete or cancel (PS3.4 section CC.2.1).

        Raises:
            InvalidDatasetError: the information is not as the standard wants it.
        """
        if (refusal := self._cannot_change(uid, caller)) is not None:
            return refusal
        transaction = text_of(information, "TransactionUID")
        if transaction and not is_uid(transaction):
            raise InvalidDatasetError("TransactionUID is no UID")
        wanted = wanted_state(information)
        return Reply(self._workitems.change_state(uid, wanted, transaction, caller.name, self._clock()))

    def request_cancel(self, uid: str, information: Dataset, caller: Caller) -> Reply:
        """Wish that it is given up (PS3.4 section CC.2.2); raises as `update` does."""
        if (refusal := self._cannot_change(uid, caller)) is not None:
            return refusal
        given = as_json(information)
        wish = {tag: given[tag] for tag in _REASONS if tag in given}
        return Reply(self._workitems.request_cancel(uid, wish, caller.name, self._clock()))

    def subscribe(self, uid: str, receiver: str, information: Dataset, caller: Caller) -> Reply:
        """Have somebody told (PS3.4 section CC.2.3).

        Raises:
            InvalidDatasetError: a filter is missing, or one that we cannot tell by.
        """
        if (refusal := self._cannot_subscribe(uid, receiver, caller)) is not None:
            return refusal
        keys = _filter(information) if uid == FILTERED else {}
        lock = text_of(information, "DeletionLock").upper() == "TRUE"
        return Reply(self._workitems.subscribe(receiver, uid, keys, self._clock(), lock=lock))

    def unsubscribe(self, uid: str, receiver: str, caller: Caller) -> Reply:
        """Have somebody told no more."""
        refusal = self._cannot_subscribe(uid, receiver, caller)
        return refusal or Reply(self._workitems.unsubscribe(receiver, uid, self._clock()))

    def suspend(self, uid: str, receiver: str, caller: Caller) -> Reply:
        """Have somebody told of what is there, and of nothing new."""
        if (refusal := self._cannot_subscribe(uid, receiver, caller)) is not None:
            return refusal
        if uid not in {GLOBAL, FILTERED}:
            return Reply(NOT_APPROPRIATE, "only a global subscription can be suspended")
        return Reply(self._workitems.suspend(receiver, self._clock()))

    def _cannot_change(self, uid: str, caller: Caller) -> Reply | None:
        if not is_uid(uid):
            return NO_SUCH_WORKITEM
        if not caller.changes:
            return _MAY_NOT_CHANGE
        if uid in {GLOBAL, FILTERED}:
            return Reply(NOT_APPROPRIATE, _STANDS_FOR_ALL)
        return None

    def _cannot_subscribe(self, uid: str, receiver: str, caller: Caller) -> Reply | None:
        """Whoever reads may have itself told, nobody else."""
        if not is_uid(uid):
            return NO_SUCH_WORKITEM
        if not (caller.changes or (caller.reads and receiver == caller.name)):
            return Reply(NOT_AUTHORIZED, "this peer may not subscribe that AE")
        if receiver not in self._receivers:
            return Reply(UNKNOWN_RECEIVER, "nobody that can be told has that AE title")
        return None

    def _one(self, uid: str, *, objects: bool = False) -> Workitem | None:
        found = self._workitems.workitems([uid], objects=objects) if is_uid(uid) else []
        return found[0] if found else None

    def _shown(self, item: Workitem) -> Dataset:
        return data_set(item, ae_title=self._ae_title, titles=self._titles)


def _refusal(given: Dataset) -> Reply | None:
    """Why a workitem cannot be posted so."""
    if missing := next((name for name in _MUST_HAVE if not text_of(given, name)), None):
        return Reply(MISSING_ATTRIBUTE, f"{missing} is missing")
    if text_of(given, "ProcedureStepState") != StepState.SCHEDULED:
        return Reply(NOT_SCHEDULED, "a workitem begins as SCHEDULED")
    if text_of(given, "ScheduledProcedureStepPriority") not in PRIORITIES.values():
        return Reply(INVALID_ARGUMENT, "the priority is none of HIGH, MEDIUM and LOW")
    return None


def _filter(information: Dataset) -> Attributes:
    """The keys of a filtered subscription.

    Raises:
        InvalidDatasetError: there is none, or one that we cannot tell by.
    """
    given = as_json(information)
    keys = {tag: element for tag, element in given.items() if tag not in _OF_A_SUBSCRIPTION}
    if not keys or not keys.keys() <= _FILTER_KEYS:
        raise InvalidDatasetError("filter by ScheduledProcedureStepPriority, ProcedureStepState or PatientID")
    return keys


def _narrowed(query: Query) -> WorkitemQuery:
    """What of a search the database can look for by itself; the rest is compared afterwards."""
    states, priorities = query.plainly("ProcedureStepState"), query.plainly("ScheduledProcedureStepPriority")
    return WorkitemQuery(
        uids=query.plainly("SOPInstanceUID"),
        states=None if states is None else [one for one in StepState if one.value in states],
        priorities=None if priorities is None else [one for one in Priority if PRIORITIES[one] in priorities],
        study_instance_uids=query.plainly("StudyInstanceUID"),
    )
