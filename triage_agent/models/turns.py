"""Who goes first on a device that several bundles share. Imports no torch."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turns:
    """A lock whose next holder is one that goes first, where one waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._party: object = None
        self._first_waiting = 0

    @contextmanager
    def take(self, *, first: bool, party: object = None) -> Iterator[None]:
        """Hold it for the block; with `first`, one that holds it already is all that is waited for.

        Those of one `party` hold it together: threads whose images go through a GPU in the same batches.
        """
        with self._changed:
            self._first_waiting += first
            self._changed.wait_for(lambda: self._is_free_for(party) and (first or not self._first_waiting))
            self._first_waiting -= first
            self._holders += 1
            self._party = party
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                self._changed.notify_all()

    def _is_free_for(self, party: object) -> bool:
        return not self._holders or (party is not None and party is self._party)


_TURNS: defaultdict[str, Turns] = defaultdict(Turns)  # by device: one is one, whoever in the process asks for it


def turns_on(device: str) -> Turns | None:
    """Who goes first on a device; None of the CPU, where bundles run side by side."""
    return _TURNS[device] if device.startswith("cuda") else None
