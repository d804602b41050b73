"""Whether a registered instance is in the object store as it was kept: what storage commitment rests on there."""

from dataclasses import replace
from pathlib import Path

from triage_agent.domain.commitment import KeptInstance
from triage_agent.domain.errors import DecoderUnavailableError
from triage_agent.intake.keeping import is_kept, not_kept
from triage_agent.intake.objects.files import Files
from triage_agent.intake.objects.names import split_path
from triage_agent.intake.objects.port import StoreAwayError


class ObjectsKept:
    """Looks at the store itself, never at a copy of what it has, which goes when there is no room."""

    def __init__(self, files: Files, ahead: Path) -> None:
        """`ahead`: this machine's write-ahead folder."""
        self._files = files
        self._ahead = ahead

    def __call__(self, instance: KeptInstance, *, read_whole: bool) -> bool:
        """Whether the object is there, long enough, and with `read_whole` of the right bytes.

        Raises:
            DecoderUnavailableError: the store is away, or the instance still waits elsewhere: it is asked later.
        """
        machine, key = split_path(instance.path)
        here = replace(instance, path=key)
        if machine is not None and (self._ahead / key).is_file():
            return is_kept(self._ahead, here, read_whole=read_whole)
        try:
            return self._in_store(here, waits=machine is not None, read_whole=read_whole)
        except StoreAwayError as error:
            raise DecoderUnavailableError(error.message, remedy=error.remedy) from error

    def _in_store(self, instance: KeptInstance, *, waits: bool, read_whole: bool) -> bool:
        reach, store = self._files.reach, self._files.store
        found = reach.ask(lambda: store.head(instance.path))
        if found is None:
            if waits:
                raise DecoderUnavailableError("an instance still waits on the machine that received it")
            return not_kept(instance, "the object store has it not")
        if found.size <= instance.size or found.sha256 not in {"", instance.sha256}:
            return not_kept(instance, "the object is not the one that it was")
        if not read_whole:
            return True
        with self._files.cache.apart() as folder:
            try:
                reach.ask(lambda: store.fetch(instance.path, folder / "object"))
            except FileNotFoundError:
                return not_kept(instance, "the object store has it not any more")
            return is_kept(folder, replace(instance, path="object"), read_whole=True)
