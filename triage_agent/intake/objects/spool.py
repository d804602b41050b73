"""The spool in an object store: acknowledged is what the store has, or, where a site wants, what this disk keeps."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from triage_agent.domain.study import InstanceHeader
from triage_agent.intake.durable import Buffer, Unfinished
from triage_agent.intake.objects.ahead import WriteAhead
from triage_agent.intake.objects.files import Files
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import StoreAwayError
from triage_agent.intake.part10 import encode_preamble
from triage_agent.intake.spool import Stored, instance_path

_INCOMING = "incoming/"
_QUARANTINE = "quarantine/"
_SUFFIX = ".dcm"
_NOTE = ".json"


class ObjectSpool:
    """See `Keeper`. Objects have the names of a local spool's files, so that both are listed in one order."""

    def __init__(self, files: Files, ahead: WriteAhead, *, acknowledge_when_away: bool) -> None:
        """`acknowledge_when_away`: what the store cannot take is kept, and acknowledged, on this machine's disk."""
        self.files = files
        self.ahead = ahead
        self.store = files.store
        self.cache = files.cache
        self.reach = files.reach
        self._acknowledges = acknowledge_when_away

    def write(self, encoded: Buffer, header: InstanceHeader, *, source: str) -> Stored:
        """See `Keeper.write`."""
        digest = hashlib.sha256(encoded).hexdigest()
        key = instance_path(header, digest)
        preamble = encode_preamble(
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            source=source,
        )
        body = memoryview(preamble + bytes(encoded))
        try:
            new = self.reach.ask(lambda: self.store.put(key, body, sha256=digest))
        except StoreAwayError:
            if not self._acknowledges:
                raise
            return self._waits(self.ahead.spool.write(encoded, header, source=source))
        return Stored(path=key, sha256=digest, size=len(encoded), new=new)

    def begin(self) -> Unfinished:
        """See `Keeper.begin`: it grows on this machine, and is synced only where the store is away."""
        return self.ahead.spool.begin()

    def adopt(self, file: Unfinished, header: InstanceHeader, *, sha256: str, size: int) -> Stored:
        """See `Keeper.adopt`."""
        key, body = instance_path(header, sha256), file.view(0)
        try:
            new = self.reach.ask(lambda: self.store.put(key, body, sha256=sha256))
        except StoreAwayError:
            if not self._acknowledges:
                raise
            return self._waits(self.ahead.spool.adopt(file, header, sha256=sha256, size=size))
        self.cache.take(key, file, len(body))  # a worker of this machine need not fetch it
        return Stored(path=key, sha256=sha256, size=size, new=new)

    def quarantine(self, encoded: Buffer, reason: str, note: Mapping[str, object]) -> str:
        """See `Keeper.quarantine`: on this machine first, since none of it is acknowledged as kept."""
        return self.ahead.spool.quarantine(encoded, reason, note)

    def quarantine_file(
        self, file: Unfinished, reason: str, note: Mapping[str, object], *, sha256: str, data_set_offset: int
    ) -> str:
        """See `Keeper.quarantine_file`; as `quarantine`."""
        return self.ahead.spool.quarantine_file(file, reason, note, sha256=sha256, data_set_offset=data_set_offset)

    def set_aside(self, path: str, reason: str, note: Mapping[str, object]) -> str:
        """See `Keeper.set_aside`."""
        machine, key = split_path(path)
        if machine == self.ahead.machine and (self.ahead.root / key).exists():
            return self.ahead.spool.set_aside(key, reason, note)
        name = Path(key).name
        kept = f"{_QUARANTINE}{name[:2]}/{name}"
        text = json.dumps({"reason": reason, **note}, sort_keys=True, indent=1, default=str).encode()

        def move() -> None:
            self.store.copy(key, kept)
            self.store.put(str(Path(kept).with_suffix(_NOTE)), memoryview(text))
            self.store.delete([key])

        self.reach.ask(move)
        self.cache.drop(key)
        return kept

    def check_room(self, size: int = 0) -> None:
        """See `Keeper.check_room`: what comes grows on this machine's disk."""
        self.ahead.spool.check_room(size)

    def check_ready(self) -> None:
        """See `Keeper.check_ready`: while the store is away by what this machine may keep for it."""
        self.ahead.spool.check_ready()
        if not self._acknowledges:
            self.reach.ask(self.store.probe)

    def instances(self) -> Iterator[str]:
        """See `Keeper.instances`: what the store has; what waits here goes its own way (`uploading`)."""
        return (path for _, path in self.dated_instances())

    def dated_instances(self) -> Iterator[tuple[datetime, str]]:
        """See `Keeper.dated_instances`: when each was put."""
        return ((one.modified, one.key) for one in self.store.listed(_INCOMING) if one.key.endswith(_SUFFIX))

    def dated_set_aside(self) -> Iterator[tuple[datetime, str]]:
        """See `Keeper.dated_set_aside`."""
        return ((one.modified, one.key) for one in self.store.listed(_QUARANTINE) if one.key.endswith(_SUFFIX))

    def opened(self, path: str) -> AbstractContextManager[Path]:
        """See `Keeper.opened`."""
        return self.files.opened(path)

    def remove_stale(self) -> int:
        """See `Keeper.remove_stale`."""
        stale = self.ahead.spool.remove_stale()
        with suppress(StoreAwayError):  # some servers do not list them
            stale += self.store.remove_unfinished()
        return stale

    def delete(self, paths: Sequence[str]) -> None:
        """Delete originals that retention has named, wherever they are.

        Raises:
            OSError: this disk refuses.
            StoreAwayError: the store is away.
        """
        for machine, key in map(split_path, paths):
            if machine == self.ahead.machine:
                (self.ahead.root / key).unlink(missing_ok=True)
            self.cache.drop(key)
        keys = [key for _, key in map(split_path, paths)]
        self.reach.ask(lambda: self.store.delete(keys))

    def empty_quarantine(self, seconds: float, most: int) -> int:
        """See `Originals.empty_quarantine`: by the store's clock."""
        latest = datetime.now(UTC) - timedelta(seconds=seconds)
        old = [one.key for one in self.store.listed(_QUARANTINE) if one.modified < latest]
        files = [key for key in old if not key.endswith(_NOTE)][:most]
        self.store.delete([*files, *(str(Path(key).with_suffix(_NOTE)) for key in files)])
        return len(files)

    def _waits(self, stored: Stored) -> Stored:
        """What was kept here, under the path that says so."""
        path = self.ahead.path_of(stored.path)
        return Stored(path=path, sha256=stored.sha256, size=stored.size, new=stored.new)
