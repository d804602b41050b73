"""A folder on a disk whose power can be cut, that can be full, and that can be broken; see `powerloss.c` for how.

What is modelled: a cut keeps of a file what its last fsync wrote, and of a folder the names that its last fsync found.
A real disk may have kept more, since the kernel writes back when it likes: with a source of chance a cut therefore
keeps each block of 4 KiB that was not synced, and each folder's later names, or does not. What is not modelled: blocks
that are torn within; pages that a failed sync has dropped, after which the next one says that all is well; and disks
that lie about a sync (`go_deaf` is that, for all files).
"""

import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.programs import require_program

GROWS, SYNCS, REMOVES = 1, 2, 4  # kinds of calls: what needs room, what makes durable, what takes a name away
CHANGES = GROWS | SYNCS | REMOVES
_SOURCE = Path(__file__).with_name("powerloss.c")
_FIELDS = ("count", "kinds", "first", "length", "error", "shorten", "deaf")
_CONTROL = struct.Struct(f"={len(_FIELDS)}q")
_BLOCK = 4096


def compiled(folder):
    """The shim as a library in `folder`; the test is left out where there is no C compiler."""
    compiler = require_program("gcc", "cc")
    library = Path(folder) / "powerloss.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, _SOURCE, "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@dataclass(frozen=True)
class _Entry:
    """A name in a folder."""

    folder: bool
    mode: int
    inode: int


class Disk:
    """`root` on a disk that can fail; run processes with `environment` to have them use it."""

    def __init__(self, library, root):
        self.root = Path(root).resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self._library = library
        # Beside the folder, so that both are on one file system.
        self._shadow = Path(tempfile.mkdtemp(prefix=f"{self.root.name}-shadow-", dir=self.root.parent))
        self._settle()

    @property
    def environment(self):
        """What a process needs in its environment for its files below `root` to lie on this disk."""
        return {
            "LD_PRELOAD": str(self._library),
            "TRIAGE_POWERLOSS_ROOT": str(self.root),
            "TRIAGE_POWERLOSS_SHADOW": str(self._shadow),
        }

    @property
    def place(self):
        """The folder, and what is kept beside it: for a launcher into which the library is preloaded."""
        return [str(self.root), str(self._shadow)]

    # --- what goes wrong ---------------------------------------------------------------------------------------------
    @property
    def count(self):
        """How many calls there were of the kinds that `watch`, `fail` or `kill_at` named last."""
        return self._get("count")

    def watch(self, kinds):
        """Count calls from here on, and let all of them be."""
        self._set(kinds=0)
        self._set(count=0, first=0, length=0, error=0, shorten=0)
        self._set(kinds=kinds)

    def fail(self, kinds, error, *, first=1, length=0, shorten=False):
        """Fail calls with `error`, from number `first` on (from here), `length` of them; 0: until `mend`."""
        self.watch(0)
        self._set(first=first, length=length, error=error, shorten=int(shorten))
        self._set(kinds=kinds)

    def kill_at(self, number, kinds=CHANGES):
        """Kill the process that makes that call, counted from here, in place of making it."""
        self.fail(kinds, 0, first=number)

    def mend(self):
        """Nothing fails any more."""
        self.watch(0)

    def go_deaf(self):
        """From here on nothing becomes durable, and every sync says that it did."""
        self._set(deaf=1)

    # --- the cut -----------------------------------------------------------------------------------------------------
    def cut(self, chance=None):
        """Cut the power: `root` is what was durable, and so is what it holds now. Nobody may be using it.

        With `chance` (a `random.Random`) some of what was not synced is kept, too.
        """
        rebuilt = Path(tempfile.mkdtemp(prefix=f"{self.root.name}-rebuilt-", dir=self.root.parent))
        live = {folder.stat().st_ino: folder for folder in _folders(self.root)}
        self._rebuild(self.root.stat().st_ino, rebuilt, live, chance)
        shutil.rmtree(self.root)
        rebuilt.rename(self.root)
        self._settle()

    def close(self):
        """Remove what was kept beside `root`."""
        shutil.rmtree(self._shadow, ignore_errors=True)

    def _settle(self):
        """Let everything that is in `root` be durable."""
        for name in ("inodes", "dirs", "pins"):
            shutil.rmtree(self._shadow / name, ignore_errors=True)
            (self._shadow / name).mkdir()
        (self._shadow / "lock").touch()
        for folder in _folders(self.root):
            entries = _live_entries(folder)
            lines = [f"{'d' if one.folder else 'f'} {one.mode:o} {one.inode} {name}\n" for name, one in entries.items()]
            (self._shadow / "dirs" / str(folder.stat().st_ino)).write_text("".join(lines))
            for name, one in entries.items():
                if not one.folder:
                    os.link(folder / name, self._shadow / "pins" / str(one.inode))
                    shutil.copyfile(folder / name, self._shadow / "inodes" / str(one.inode))
        (self._shadow / "control").write_bytes(_CONTROL.pack(*[0] * len(_FIELDS)))

    def _rebuild(self, inode, target, live, chance):
        durable = self._durable_entries(inode)
        if chance is not None and inode in live and chance.random() < 0.5:
            durable = _live_entries(live[inode])
        for name, entry in durable.items():
            path = target / name
            if entry.folder:
                path.mkdir()
                self._rebuild(entry.inode, path, live, chance)
            else:
                path.write_bytes(self._content(entry.inode, live.get(inode, target) / name, chance))
            path.chmod(entry.mode)

    def _durable_entries(self, inode):
        kept = self._shadow / "dirs" / str(inode)
        lines = kept.read_text().splitlines() if kept.exists() else []
        entries = {}
        for line in lines:
            what, mode, number, name = line.split(" ", 3)
            entries[name] = _Entry(folder=what == "d", mode=int(mode, 8), inode=int(number))
        return entries

    def _content(self, inode, live, chance):
        kept, pin = self._shadow / "inodes" / str(inode), self._shadow / "pins" / str(inode)
        durable = kept.read_bytes() if kept.exists() else b""
        if chance is None:
            return durable
        return _mixed(durable, (pin if pin.exists() else live).read_bytes(), chance)

    def _get(self, field):
        with (self._shadow / "control").open("rb") as control:
            return _CONTROL.unpack(control.read(_CONTROL.size))[_FIELDS.index(field)]

    def _set(self, **values):
        with (self._shadow / "control").open("r+b") as control, mmap.mmap(control.fileno(), _CONTROL.size) as memory:
            for field, value in values.items():
                struct.pack_into("=q", memory, 8 * _FIELDS.index(field), value)


def _folders(root):
    return [Path(found) for found, _, _ in os.walk(root)]


def _live_entries(folder):
    entries = {}
    with os.scandir(folder) as found:
        for entry in found:
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False):
                entries[entry.name] = _Entry(
                    folder=entry.is_dir(follow_symlinks=False), mode=status.st_mode & 0o7777, inode=status.st_ino
                )
    return entries


def _mixed(durable, live, chance):
    """Each block as it was synced or as it was written last, and either length."""
    length = len(chance.choice((durable, live)))
    blocks = []
    for start in range(0, length, _BLOCK):
        end = min(start + _BLOCK, length)
        block = chance.choice((durable, live))[start:end]
        blocks.append(block.ljust(end - start, b"\0"))
    return b"".join(blocks)
