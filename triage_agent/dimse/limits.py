"""How many associations one peer may have: a bound on what one sender, however broken, takes from the others."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from pynetdicom.association import Association

from triage_agent.dimse.peers import Peer

TOO_MANY = "too many associations of this peer"
TOO_FAST = "too many associations of this peer in a minute"

_WINDOW_SECONDS = 60.0


class AssociationLimits:
    """Counts by peer; safe to call from many threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open: dict[str, list[Association]] = defaultdict(list)
        self._begun: dict[str, deque[float]] = defaultdict(deque)

    def enter(self, peers: Sequence[Peer], association: Association) -> str | None:
        """Count an association in; why not, where one of the peers that the caller is has enough of them.

        Only what is let in counts: a sender that tries again while it is refused does not keep itself out.
        """
        with self._lock:
            for peer in peers:
                if (reason := self._refusal(peer)) is not None:
                    return reason
            now = self._monotonic()
            for peer in peers:
                self._open[peer.name].append(association)
                self._begun[peer.name].append(now)
        return None

    def _refusal(self, peer: Peer) -> str | None:
        still_open = self._open[peer.name] = [one for one in self._open[peer.name] if _is_open(one)]
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
