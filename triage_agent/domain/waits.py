"""How far ahead a deadline can lie that was set by the clock as it is now."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class LongestWaits:
    """The longest waits that anybody sets; what lies farther ahead was set before the clock was set back.

    Attributes:
        lease: of whatever is held.
        sending: for the next attempt at a delivery.
        replying: for the next attempt to tell a peer what we keep, and while it is told.
        telling: for a report of a workitem that is held while those before it are told.
        asking: for a destination's answer whether it keeps what it was sent, and while it is asked.
        fetching: for the next attempt to fetch a study.
    """

    lease: timedelta = timedelta(minutes=1)
    sending: timedelta = timedelta(minutes=5)
    replying: timedelta = timedelta(minutes=5)
    telling: timedelta = timedelta(minutes=1)
    asking: timedelta = timedelta(hours=1)
    fetching: timedelta = timedelta(minutes=5)
