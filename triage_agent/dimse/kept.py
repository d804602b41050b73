"""What clients have in common that keep an association for what they send next."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from pynetdicom.association import Association

from triage_agent.dimse.outgoing import Caller, end
from triage_agent.dimse.peers import Peer

T = TypeVar("T")

_FAREWELL_SECONDS = 1.0  # for a peer to answer a release, and for a thread to notice that its connection was cut


class KeepingClient:
    """One peer; safe to call from many threads.

    Args:
        peer: whom to call.
        calling_ae_title: our own.
        connect_seconds: for the connection.
        answer_seconds: for each answer.
        idle_seconds: how long an association is kept on which nothing is sent.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        calling_ae_title: str,
        connect_seconds: float = 10.0,
        answer_seconds: float = 30.0,
        idle_seconds: float,
    ) -> None:
        self.peer = peer
        self._caller = Caller(
            peer,
            calling_ae_title=calling_ae_title,
            connect_seconds=connect_seconds,
            answer_seconds=answer_seconds,
            idle_seconds=idle_seconds,
        )
        self._lock = threading.Lock()  # one request at a time: an answer belongs to the one that waits for it
        self._kept: Association | None = None

    def close(self) -> None:
        """Release the association that is kept; the next request makes another.

        What waits for its answer is not waited for: its connection is cut, so that it fails in a way that a retry may
        mend.
        """
        is_ours = self._lock.acquire(blocking=False)
        if not is_ours:
            self._caller.cut()
            is_ours = self._lock.acquire(timeout=_FAREWELL_SECONDS)
        if is_ours:
            try:
                self._let_go(_FAREWELL_SECONDS)
            finally:
                self._lock.release()
        self._caller.cut()

    def _on_kept(self, make: Callable[[], Association], ask: Callable[[Association], T]) -> T:
        """What is answered on the association that is kept, or on a new one where that turns out to have ended.

        Args:
            make: makes one, which is kept from now on.
            ask: raises RuntimeError where it could send nothing; it is called once more then.

        Raises:
            DeliveryError: there is no association.
            RuntimeError: nothing can be sent on a new one either.
        """
        if self._kept is not None:
            with suppress(RuntimeError):
                return ask(self._kept_or(make))
            self._let_go()
        return ask(self._kept_or(make))

    def _kept_or(self, make: Callable[[], Association]) -> Association:
        """The association that is kept, while it lives; else the one that `make` makes, which is kept from now on."""
        kept = self._kept
        if kept is not None and kept.is_established:
            return kept
        self._let_go()
        self._kept = make()
        return self._kept

    def _let_go(self, seconds: float | None = None) -> None:
        association, self._kept = self._kept, None
        if association is not None:
            end(association, seconds)
