"""What an N-ACTION asks of a workitem: another state, to be given up, or to be told of it (PS3.4 CC.2.1 to CC.2.3)."""

from collections.abc import Collection

from pydicom.dataset import Dataset

from triage_agent.dimse.statuses import comment_on
from triage_agent.dimse.ups_data import as_json, text_of, wanted_state
from triage_agent.domain.errors import InvalidDatasetError
from triage_agent.domain.ports import Clock
from triage_agent.domain.uids import is_uid
from triage_agent.domain.workitem import FILTERED, GLOBAL, Attributes, Verdict, Workitems

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = range(1, 6)  # Action Type IDs

NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
UNKNOWN_RECEIVER = 0xC308
NOT_APPROPRIATE = 0xC314

_REASONS = ("00741238", "0074100E", "0074100A", "0074100C")  # of a wish to cancel: why, and whom to ask
_FILTER_KEYS = frozenset({"00741200", "00741000", "00100020"})  # priority, state, patient
_OF_A_SUBSCRIPTION = frozenset({"00741234", "00741230", "00080005"})  # receiving AE, deletion lock, character set


class Actions:
    """Does what is asked for, where the caller may ask for it."""

    def __init__(self, workitems: Workitems, receivers: Collection[str], clock: Clock) -> None:
        """`receivers` are the AE titles that can be told of events."""
        self._workitems = workitems
        self._receivers = frozenset(receivers)
        self._clock = clock

    def act(
        self, action: int | None, uid: str, information: Dataset, *, caller: str, changes: bool, reads: bool
    ) -> Dataset | int:
        """The status of an N-ACTION; `changes` and `reads` are what the caller may do.

        Raises:
            InvalidDatasetError: the Action Information is not as the standard wants it.
            WorklistUnavailableError: the database is away.
        """
        if not is_uid(uid):
            return comment_on(Verdict.UNKNOWN_WORKITEM, "no such workitem")
        if action in {CHANGE_STATE, REQUEST_CANCEL}:
            if not changes:
                return comment_on(NOT_AUTHORIZED, "this peer may not change workitems")
            if uid in {GLOBAL, FILTERED}:
                return comment_on(NOT_APPROPRIATE, "that instance stands for all workitems")
            return self._change(action, uid, information, caller)
        if action in {SUBSCRIBE, UNSUBSCRIBE, SUSPEND}:
            return self._subscription(action, uid, information, caller=caller, changes=changes, reads=reads)
        return comment_on(NO_SUCH_ACTION, "no such action type")

    def _change(self, action: int, uid: str, information: Dataset, caller: str) -> int:
        if action == REQUEST_CANCEL:
            given = as_json(information)
            wish = {tag: given[tag] for tag in _REASONS if tag in given}
            return int(self._workitems.request_cancel(uid, wish, caller, self._clock()))
        transaction = text_of(information, "TransactionUID")
        if transaction and not is_uid(transaction):
            raise InvalidDatasetError("TransactionUID is no UID")
        wanted = wanted_state(information)
        return int(self._workitems.change_state(uid, wanted, transaction, caller, self._clock()))

    def _subscription(
        self, action: int, uid: str, information: Dataset, *, caller: str, changes: bool, reads: bool
    ) -> Dataset | int:
        receiver = text_of(information, "ReceivingAE")
        if not (changes or (reads and receiver == caller)):  # whoever reads may have itself told, nobody else
            return comment_on(NOT_AUTHORIZED, "this peer may not subscribe that AE")
        if receiver not in self._receivers:
            return comment_on(UNKNOWN_RECEIVER, "the receiving AE is no peer with host and port")
        now = self._clock()
        if action == SUSPEND:
            if uid not in {GLOBAL, FILTERED}:
                return comment_on(NOT_APPROPRIATE, "only a global subscription can be suspended")
            return int(self._workitems.suspend(receiver, now))
        if action == UNSUBSCRIBE:
            return int(self._workitems.unsubscribe(receiver, uid, now))
        keys = _filter(information) if uid == FILTERED else {}
        lock = text_of(information, "DeletionLock").upper() == "TRUE"
        return int(self._workitems.subscribe(receiver, uid, keys, now, lock=lock))


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
