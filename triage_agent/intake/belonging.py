"""Spool and database belong together: each knows the same id, and neither is used with a stranger.

A mistyped address of the database would else make an empty one adopt the whole spool and send everything again; a disk
that is not mounted would make a worklist whose files are all gone.
"""

import fcntl
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import structlog

from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.domain.ports import Worklist
from triage_agent.intake.durable import DurableStore, refusing

log = structlog.get_logger(__name__)

NAME = ".id"
"""The file in the spool that has its id: 32 hexadecimal digits."""

_ID = re.compile(rb"[0-9a-f]{32}")
_SAMPLE = 100  # of the worklist's files, of which one must be there
_MEANT = "if it is meant, `triage-agent db rebuild`"
_MEANT_WITH_STUDIES = "if it is meant, `triage-agent db rebuild --with-studies`"


class Bond(StrEnum):
    """How a spool and a database stand to each other."""

    TOGETHER = "together"
    NEW = "new"  # both, or the one that is not has nothing in it: they are joined at the start
    KIN = "kin"  # one of them has no id, and the files are the database's: joined, too
    AWAY = "away"  # the database knows a spool, and this folder is none
    UNCLAIMED = "unclaimed"  # files, and an empty database
    STRANGERS = "strangers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is there.

    Attributes:
        marked: the spool's id; None where it has none that can be read.
        noted: the id that the database knows.
        files: the spool has instances.
        studies: the database has.
        originals: some of its instances were not deleted.
        kin: of those, some are in the spool.
    """

    marked: str | None
    noted: str | None
    files: bool
    studies: bool
    originals: bool
    kin: bool


def judge(seen: Seen) -> Bond:
    """How they stand to each other: by their ids where both have one, else by what is in them."""
    if seen.marked is not None and seen.noted is not None:
        return Bond.TOGETHER if seen.marked == seen.noted else Bond.STRANGERS
    if seen.kin:
        return Bond.KIN
    if seen.noted is not None:
        return Bond.AWAY
    if not seen.files:
        return Bond.AWAY if seen.originals else Bond.NEW
    return Bond.STRANGERS if seen.studies else Bond.UNCLAIMED


class Home(Protocol):
    """Where a spool keeps its files, as far as it matters whose they are; its text names it for people."""

    def has_files(self) -> bool:
        """Whether an instance is kept there."""

    def has_any(self, paths: Sequence[str]) -> bool:
        """Whether one of these is kept there."""

    def read_id(self) -> str | None:
        """The spool's id; None where there is none, or what is there was never written whole.

        Raises:
            TriageError: it cannot be read.
        """

    def mark(self, proposed: str | None, *, anew: bool = False) -> str:
        """The spool's id, which is written where it has none, or `anew`: `proposed`, or a new one. Durable then.

        Raises:
            StorageExhaustedError: it cannot be written.
        """

    def settled(self) -> None:
        """Spool and database are each other's, and something is going to be received.

        Raises:
            StorageExhaustedError: what is to be noted of that cannot be written.
        """


class Folder:
    """A spool in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def has_files(self) -> bool:
        """See `Home.has_files`."""
        return has_files(self._root)

    def has_any(self, paths: Sequence[str]) -> bool:
        """See `Home.has_any`."""
        return any((self._root / path).is_file() for path in paths)

    def read_id(self) -> str | None:
        """See `Home.read_id`."""
        return _read(self._root)

    def mark(self, proposed: str | None, *, anew: bool = False) -> str:
        """See `Home.mark`."""
        return _mark(self._root, proposed, anew=anew)

    def settled(self) -> None:
        """See `Home.settled`: nothing is to be done."""


class Belonging:
    """A spool and a worklist, which are to be each other's."""

    def __init__(self, spool: Path | Home, worklist: Worklist) -> None:
        self._spool = Folder(spool) if isinstance(spool, Path) else spool
        self._worklist = worklist

    def settle(self) -> None:
        """Before anything is received: join what is new, and refuse strangers. Nothing is made before that is clear.

        Raises:
            TriageError: the spool is away, or one of them belongs to another; and the way out.
        """
        bond = self.look()
        if bond in {Bond.NEW, Bond.KIN}:
            # The file first: whoever starts at the same time finds it, so that the database is told one id only.
            marked = self._spool.mark(self._worklist.spool_id())
            if self._worklist.join_spool(marked) != marked:
                raise _stranger(self._spool, studies=True)
            log.info("spool_joined", why=bond.value)
        self._spool.settled()

    def require(self) -> None:
        """For who only reads the spool, and for whoever asks whether we are ready: nothing is written.

        Raises:
            TriageError: the database's spool is another one, or away.
        """
        noted = self._worklist.spool_id()
        if noted is not None and self._spool.read_id() != noted:
            self.look()

    def look(self) -> Bond:
        """How they stand to each other, where they may be used together.

        Raises:
            TriageError: they may not.
        """
        return accept(self._spool, judge(self._see()), studies=bool(self._worklist.items(limit=1)))

    def mean(self) -> None:
        """Somebody has said that they belong together: from now on they do, and the spool is no other database's.

        Raises:
            StorageExhaustedError: the spool's disk refuses.
        """
        self._worklist.join_spool(self._spool.mark(uuid.uuid4().hex, anew=True), replacing=True)

    def _see(self) -> Seen:
        marked, noted = self._spool.read_id(), self._worklist.spool_id()
        if marked is not None and noted is not None:  # what is in them is not asked for then: a store may be away
            return Seen(marked=marked, noted=noted, files=False, studies=False, originals=False, kin=False)
        originals = self._worklist.some_originals(_SAMPLE)
        return Seen(
            marked=marked,
            noted=noted,
            files=self._spool.has_files(),
            studies=bool(self._worklist.items(limit=1)),
            originals=bool(originals),
            kin=self._spool.has_any(originals),
        )


def look_without_database(spool: Path | Home) -> Bond:
    """`Belonging.look`, before the database is made.

    Raises:
        TriageError: the spool is not new, and a new database may not take it by itself.
    """
    home = Folder(spool) if isinstance(spool, Path) else spool
    files = home.has_files()
    seen = Seen(marked=home.read_id(), noted=None, files=files, studies=False, originals=False, kin=False)
    return accept(home, judge(seen), studies=False)


def accept(spool: Path | Home, bond: Bond, *, studies: bool) -> Bond:
    """The bond, if the two may be used together; `studies` are the database's.

    Raises:
        TriageError: they may not, and the way out.
    """
    if bond is Bond.AWAY:
        raise TriageError(
            f"{spool} is not the spool that the database knows, but a place without its {NAME}",
            remedy=f"mount its disk or share, or correct data_dir; {_MEANT_WITH_STUDIES}",
        )
    if bond is Bond.UNCLAIMED:
        raise ConfigurationError(
            f"the database is empty and {spool} is not: all of it would be decided and sent again",
            remedy=f"correct [database] url, or put the database back; {_MEANT}",
        )
    if bond is Bond.STRANGERS:
        raise _stranger(spool, studies=studies)
    return bond


def has_files(spool: Path) -> bool:
    """Whether an instance is kept there."""
    return next(spool.glob("incoming/*/*/*.dcm"), None) is not None


def _stranger(spool: Path | Home, *, studies: bool) -> ConfigurationError:
    return ConfigurationError(
        f"{spool} belongs to another database than the one that [database] url names",
        remedy=f"correct [database] url or data_dir; {_MEANT_WITH_STUDIES if studies else _MEANT}",
    )


def _read(spool: Path) -> str | None:
    """The spool's id; None where there is none, or what is there was never written whole."""
    try:
        with (spool / NAME).open("rb") as file:
            found = file.read(64)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TriageError(
            f"{spool / NAME} cannot be read: {error.strerror}", remedy="give it to the user that the agent runs as"
        ) from error
    return _understood(found)


def _understood(found: bytes) -> str | None:
    return found.decode() if _ID.fullmatch(found) else None


def _mark(spool: Path, proposed: str | None, *, anew: bool = False) -> str:
    """The spool's id, which is written where it has none, or `anew`: `proposed`, or a new one. Durable when it returns.

    Under a lock, since several processes may make the same spool.

    Raises:
        StorageExhaustedError: the disk refuses.
    """
    with refusing():
        DurableStore(
            spool
        )  # the folder itself, and those above it: the database must know no id that a power cut takes
        descriptor = os.open(spool / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            marked = _understood(os.pread(descriptor, 64, 0))
            if marked is None or anew:
                marked = proposed or uuid.uuid4().hex
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, marked.encode(), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return marked
