"""What the last answer to a C-MOVE or C-GET means: a table over PS3.4 tables C.4-2 and C.4-3, and PS3.7 annex C.

| status | meaning | ask again? |
|---|---|---|
| 0x0000 | success; where the counts say that sub-operations failed it is taken for 0xB000 | |
| 0xB000 | some sub-operations failed | yes |
| 0xA701, 0xA702 | out of resources: matches cannot be counted, sub-operations cannot be made | yes |
| 0xA801 | move destination unknown: the PACS does not know us | no |
| 0xA900 to 0xA9FF | it does not take this question; it may take one for the whole study | yes |
| 0x0122, 0x0211 | it takes no such request at all | no |
| 0xFE00 | cancelled | yes |
| 0xC000 to 0xCFFF, anything else | unable to process | yes |

"Yes" is bounded by whoever asks.
"""

from triage_agent.domain.retrieval import RetrievalError, SubOperations

SUCCESS = 0x0000
PENDING = frozenset({0xFF00, 0xFF01})
MOVE_DESTINATION_UNKNOWN = 0xA801
_PERMANENT = frozenset({MOVE_DESTINATION_UNKNOWN, 0x0122, 0x0211})
_MEANINGS = {
    0xA701: "it is out of resources to count matches",
    0xA702: "it is out of resources to send",
    MOVE_DESTINATION_UNKNOWN: "it does not know us as a move destination",
    0xB000: "some sub-operations failed",
    0xFE00: "cancelled",
}


def judge_retrieve(asked: str, status: int | None, operations: SubOperations, remedy: str) -> RetrievalError | None:
    """What went wrong with a request, None if nothing did.

    Args:
        asked: what was asked of whom, for people.
        status: of the last answer; None when there was none.
        operations: how its sub-operations ended.
        remedy: what to do where the PACS does not know us.
    """
    if status is None:
        return RetrievalError(f"{asked} ended without an answer", permanent=False)
    if status == SUCCESS:
        if not operations.failed:
            return None
        return RetrievalError(f"{asked}: {operations.failed} sub-operations failed", permanent=False)
    meaning = _MEANINGS.get(status, "")
    said = f"{asked} answered 0x{status:04X}{f' ({meaning})' if meaning else ''}"
    is_unknown = status == MOVE_DESTINATION_UNKNOWN
    return RetrievalError(said, permanent=status in _PERMANENT, remedy=remedy if is_unknown else "")
