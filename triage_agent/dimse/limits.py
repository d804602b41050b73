"""How many associations one peer may have: a bound on what one sender, however broken, takes from the others."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from pynetdicom.association import Association

from triage_agent.dimse.peers import Peer

TOO_MANY = "too many associations of this peer"
TOO_FAST = "too many associations of this peer in a minute"
TOO_MANY_OF_ALL = "too many associations"

_WINDOW_SECONDS = 60.0

IsOpen = Callable[[], bool]


class Seats(Protocol):
    """Who counts associations, here or in another process."""

    def enter(self, peers: Sequence[Peer], association: Association) -> str | None:
        """Count an association in; why not, where one of the peers that the caller is has enough of them."""


class AssociationLimits:
    """Counts by peer; safe to call from many threads.

    Args:
        monotonic: the time.
        most: associations of all peers together; None where somebody else sees to that.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, *, most: int | None = None) -> None:
        self._monotonic = monotonic
        self._most = most
        self._lock = threading.Lock()
        self._all: list[IsOpen] = []
        self._open: dict[str, list[IsOpen]] = defaultdict(list)
        self._begun: dict[str, deque[float]] = defaultdict(deque)

    def enter(self, peers: Sequence[Peer], association: Association) -> str | None:
        """See `Seats.enter`."""
        return self.admit(peers, partial(_is_open, association))

    def admit(self, peers: Sequence[Peer], is_open: IsOpen) -> str | None:
        """As `enter`, of anything that is open for a while.

        Only what is let in counts: a sender that tries again while it is refused does not keep itself out.
        """
        with self._lock:
            if self._most is not None and len(self._still_open()) >= self._most:
                return TOO_MANY_OF_ALL
            for peer in peers:
                if (reason := self._refusal(peer)) is not None:
                    return reason
            now = self._monotonic()
            if self._most is not None:  # else nobody would ever look which of them have ended
                self._all.append(is_open)
            for peer in peers:
                self._open[peer.name].append(is_open)
                self._begun[peer.name].append(now)
        return None

    def _still_open(self) -> list[IsOpen]:
        self._all = [one for one in self._all if one()]
        return self._all

    def _refusal(self, peer: Peer) -> str | None:
        still_open = self._open[peer.name] = [one for one in self._open[peer.name] if one()]
        if peer.max_associations is not None and len(still_open) >= peer.max_associations:
            return TOO_MANY
        begun, since = self._begun[peer.name], self._monotonic() - _WINDOW_SECONDS
        while begun and begun[0] <= since:
            begun.popleft()
        if peer.max_associations_per_minute is not None and len(begun) >= peer.max_associations_per_minute:
            return TOO_FAST
        return None


def _is_open(association: Association) -> bool:
    return association.is_alive() and not (association.is_released or association.is_aborted or association.is_rejected)
