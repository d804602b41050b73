"""A result's workitem at a PACS that owns the worklist: what is sent to make it, and what to change of one there. Pure.

The workitem's UID is the study's for ever: one that is there already was made by an earlier result.
"""

from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.quiet import quiet

_RANKS = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
# What a result changes of a workitem that is there; the rest is as it was when it was made.
_CHANGING = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "CommentsOnTheScheduledProcedureStep",
    "InputReadinessState",
    "InputInformationSequence",
)


def read_workitem(part10: bytes) -> tuple[str, Dataset]:
    """The UID of a workitem, and its attributes without those that say what it is: requests name it.

    Raises:
        DeliveryError: it is no workitem of ours.
    """
    try:
        with quiet():
            data = dcmread(BytesIO(part10))
            uid = str(data.SOPInstanceUID)
            del data.SOPInstanceUID, data.SOPClassUID
    except (InvalidDicomError, AttributeError, KeyError, EOFError) as error:
        raise DeliveryError("the workitem cannot be read", permanent=True) from error
    return uid, data


def changes_to(has_priority: str, data: Dataset) -> Dataset:
    """What to set of a workitem that is there, and has this priority: never a lower one, whoever set it."""
    changes = Dataset()
    changes.SpecificCharacterSet = data.SpecificCharacterSet
    for keyword in _CHANGING:
        changes[keyword] = data[keyword]
    if _RANKS.get(has_priority, 0) > _RANKS[data.ScheduledProcedureStepPriority]:
        del changes.ScheduledProcedureStepPriority
    return changes
