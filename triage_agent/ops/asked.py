"""What signals ask of a process, for its main thread to do."""

import signal
from queue import Empty, SimpleQueue


class Asked:
    """What was asked for, in order.

    A queue, since an `Event` may be set by a handler while the same thread waits for it, and then waits for itself.
    """

    def __init__(self) -> None:
        self._words: SimpleQueue[str] = SimpleQueue()

    def on(self, number: signal.Signals, word: str) -> None:
        """Have a signal ask for `word`; to be called by the main thread."""
        signal.signal(number, lambda *_: self._words.put(word))

    def put(self, word: str) -> None:
        """Ask for it, from any thread."""
        self._words.put(word)

    def next(self) -> str:
        """Wait for the next one; to be called by the main thread, which signals interrupt."""
        while True:
            try:
                return self._words.get(timeout=1.0)  # a wait without an end is not interrupted everywhere
            except Empty:
                continue
