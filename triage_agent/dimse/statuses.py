"""What a peer's C-STORE status means for what we sent: a table over PS3.4 table B.2-1 and PS3.7 annex C.

| status | meaning | verdict |
|---|---|---|
| 0x0000 | success | accepted |
| 0x0001, 0x0107, 0x0116, 0xB000 to 0xBFFF | warnings: it was kept, perhaps coerced | accepted |
| 0x0111 | duplicate SOP instance: what we sent before is there (promise 5) | accepted |
| 0xA700 to 0xA7FF, 0x0213 | out of resources | try again |
| 0x0110 | processing failure | try again |
| 0x0124 | not authorised: an admin will mend it, and until then nothing may be lost | try again |
| 0x0117, 0x0122, 0x0210, 0x0211, 0x0212 | the request itself is refused | permanent |
| 0xA900 to 0xA9FF | data set does not match SOP class | permanent |
| 0xC000 to 0xCFFF | cannot understand | permanent |
| anything else | not in the standard | try again |

An association that is rejected, whatever the reason, is tried again: AE titles and addresses are configuration, which
somebody will mend. A refused presentation context is permanent: the peer does not take that SOP class at all.
"""

from enum import Enum

from pydicom.dataset import Dataset

_LONGEST_COMMENT = 64  # VR LO


class Verdict(Enum):
    """What to do about an object after a peer's answer."""

    ACCEPTED = "accepted"
    TRY_AGAIN = "try again"
    PERMANENT = "permanent"


_ACCEPTED = frozenset({0x0000, 0x0001, 0x0107, 0x0111, 0x0116})
_PERMANENT = frozenset({0x0117, 0x0122, 0x0210, 0x0211, 0x0212})


def judge_store(status: int) -> Verdict:
    """The verdict on one C-STORE response's status."""
    if status in _ACCEPTED or status & 0xF000 == 0xB000:  # noqa: PLR2004 - the table above
        return Verdict.ACCEPTED
    if status in _PERMANENT or status & 0xFF00 == 0xA900 or status & 0xF000 == 0xC000:  # noqa: PLR2004 - as above
        return Verdict.PERMANENT
    return Verdict.TRY_AGAIN


def comment_on(code: int, comment: str) -> Dataset:
    """A response's status elements (PS3.7 section C.5); the comment is cut to what LO takes."""
    status = Dataset()
    status.Status = code
    status.ErrorComment = comment.encode("ascii", "replace").decode().replace("\\", "/")[:_LONGEST_COMMENT]
    return status
