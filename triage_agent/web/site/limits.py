"""How often one address or one session may ask, in bounded memory."""

import ipaddress
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from triage_agent.domain.ports import Clock

_MOST_KEYS = 8192
_NETWORK_BITS = 64  # of IPv6: whoever has one address there has them all


@dataclass(frozen=True, slots=True)
class Refusal:
    """Too often: when to come back, and whether it is the first of a burst."""

    seconds: int
    first: bool


@dataclass(slots=True)
class _Bucket:
    left: float
    at: datetime
    refusing: bool = False


class Pace:
    """Lets each key through so many times a minute, all of them at once if need be (a token bucket)."""

    def __init__(self, a_minute: int, clock: Clock) -> None:
        self._most = float(a_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, key: str) -> Refusal | None:
        """None where `key` may; the longest unused keys are forgotten where there are too many."""
        now = self._clock()
        with self._lock:
            bucket = self._buckets.pop(key, None) or _Bucket(self._most, now)
            self._buckets[key] = bucket
            while len(self._buckets) > _MOST_KEYS:
                self._buckets.popitem(last=False)
            gone = max(0.0, (now - bucket.at).total_seconds())  # a clock that was set back gives nothing
            bucket.left, bucket.at = min(self._most, bucket.left + gone * self._most / 60), now
            if bucket.left >= 1:
                bucket.left -= 1
                bucket.refusing = False
                return None
            first, bucket.refusing = not bucket.refusing, True
            return Refusal(max(1, math.ceil((1 - bucket.left) * 60 / self._most)), first)


def place_of(address: str) -> str:
    """What counts as one address: of IPv6 a network, and IPv4 also where it comes in IPv6's form."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
        known = known.ipv4_mapped
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    return str(ipaddress.ip_network((known, _NETWORK_BITS), strict=False))
