"""Which spool belongs to the worklist, in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from triage_agent.worklist.memory.base import Rows


class Spools(Rows):
    """The port's part about the spool."""

    _spool_id: str | None = None

    def spool_id(self) -> str | None:
        """See `Spools.spool_id`."""
        with self._lock:
            return self._spool_id

    def join_spool(self, spool_id: str, *, replacing: bool = False) -> str:
        """See `Spools.join_spool`."""
        with self._lock:
            if self._spool_id is None or replacing:
                self._spool_id = spool_id
            return self._spool_id

    def some_originals(self, limit: int) -> Sequence[str]:
        """See `Spools.some_originals`."""
        with self._lock:
            there = [image.received.path for image in self._images.values() if image.original_deleted_at is None]
            return there[:limit]

    def deleted_originals(self, before: datetime) -> Iterator[str]:
        """See `Spools.deleted_originals`."""
        with self._lock:
            images = list(self._images.values())
        return (one.received.path for one in images if one.original_deleted_at and one.original_deleted_at < before)

    def move_original(self, sop_instance_uid: str, path: str, to: str) -> bool:
        """See `Spools.move_original`."""
        with self._lock:
            image = self._images.get(sop_instance_uid)
            if image is None or image.received.path != path:
                return False
            image.received = replace(image.received, path=to)
            return True

    def original_found(self, sop_instance_uid: str) -> bool:
        """See `Spools.original_found`."""
        with self._lock:
            image = self._images.get(sop_instance_uid)
            if image is None or image.original_deleted_at is None:
                return False
            self._studies[image.study_instance_uid].originals_deleted_at = None
            return True
