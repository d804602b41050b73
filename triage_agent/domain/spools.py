"""Which spool belongs to the worklist: both know one id, so that neither is used with a stranger."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

HELD = "held"
"""How paths begin of instances that wait on one machine for an object store that is away; the next part names it."""


class Spools(Protocol):
    """The worklist's side of it; a part of the port `Worklist`."""

    def spool_id(self) -> str | None:
        """The id of the spool that belongs to this worklist; None where none was joined to it yet."""

    def join_spool(self, spool_id: str, *, replacing: bool = False) -> str:
        """Note the spool's id, unless there is one; with `replacing` in its place. Returns what is noted then."""

    def some_originals(self, limit: int) -> Sequence[str]:
        """Paths in the spool of some instances that were not deleted; none where every one was, or there is none."""

    def deleted_originals(self, before: datetime) -> Iterator[str]:
        """Paths in the spool of instances whose files were deleted before then; read as they are consumed."""

    def original_found(self, sop_instance_uid: str) -> bool:
        """The file of an instance is in the spool: if it was deleted once, retention looks at its study again.

        A backup brings deleted files back. Returns whether it had been deleted.
        """

    def move_original(self, sop_instance_uid: str, path: str, to: str) -> bool:
        """The file of an instance is `to` in the spool, and not `path` any more; False where it was not that before."""
