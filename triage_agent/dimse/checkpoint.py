"""Where an association's reactor is stopped, so that another thread can send and hear on it.

Every `send_*` method of pynetdicom 3.0 clears its association's checkpoint and waits until `_is_paused` is up. That
sign is still up for a moment after the request before: the reactor then goes on, takes the answer for a request of the
peer and drops it, and who asked waits until its timeout. A busy machine makes that moment long. And it never comes up
where the reactor has ended, by the peer's abort or because nothing was sent for a while: who asks then waits for ever.
"""

import threading
import time

from pynetdicom.association import Association

_LOOK_SECONDS = 0.05  # how soon it is seen that a reactor has ended
_LONGEST_SECONDS = 30.0  # where the association itself has no limit


class Checkpoint(threading.Event):
    """Where the reactor can be stopped between two messages, and that it has stopped can be known.

    pynetdicom's own sign, `_is_paused`, is up also while it serves a message, and for a moment after it has gone on.
    """

    def __init__(self) -> None:
        super().__init__()
        self._change = threading.Condition()
        self._is_open, self._blocks = True, False

    @property
    def blocks(self) -> bool:
        """Whether the reactor stands here."""
        with self._change:
            return self._blocks and not self._is_open

    def is_set(self) -> bool:
        """Whether the reactor may pass."""
        return self._is_open

    def set(self) -> None:
        """Let it pass."""
        with self._change:
            self._is_open = True
            self._change.notify_all()

    def clear(self) -> None:
        """Stop it when it comes by."""
        with self._change:
            self._is_open = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it may pass, at most `timeout` seconds; whether it may."""
        with self._change:
            self._blocks = not self._is_open
            self._change.notify_all()
            passes = self._change.wait_for(lambda: self._is_open, timeout)
            self._blocks = False
            return passes


class SureCheckpoint(Checkpoint):
    """One that `clear` returns from only when the reactor stands here, and stays until who stopped it lets it go.

    Args:
        association: whose reactor it is.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def clear(self) -> None:
        """Stop the reactor, and wait until it has stopped.

        Raises:
            RuntimeError: it has ended, or serves something for longer than an answer may take; nothing can be sent.
        """
        if threading.current_thread() is self._association:
            super().clear()
            return  # it serves a message, and sends in between, or it releases what nobody used for a while
        ends = time.monotonic() + (self._association.dimse_timeout or _LONGEST_SECONDS)
        with self._change:
            self._is_open = False
            while not self._blocks:
                ends_now = self._association._kill or not self._association.is_alive()  # noqa: SLF001 - who may know else
                if ends_now or time.monotonic() > ends:
                    self.set()
                    raise RuntimeError("the association has ended" if ends_now else "the association is busy")
                self._change.wait(_LOOK_SECONDS)
                self._is_open = self._association._kill  # noqa: SLF001 - a reactor that releases opens it
        self._association._is_paused = True  # noqa: SLF001 - what was served by others than the reactor took it down
