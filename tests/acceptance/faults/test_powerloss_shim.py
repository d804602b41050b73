"""The disk whose power the other tests cut does what they rely on."""

import contextlib
import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys

import pytest
from support.powerloss import CHANGES, GROWS, SYNCS, Disk

pytestmark = pytest.mark.external


def on(disk, program, expected=0):
    """Run some Python in the disk's folder; it has `sync(path)`."""
    prelude = "import os, sqlite3\ndef sync(path):\n f = os.open(path, os.O_RDONLY); os.fsync(f); os.close(f)\n"
    command = [sys.executable, "-I", "-S", "-c", prelude + program]
    done = subprocess.run(
        command, cwd=disk.root, env=os.environ | disk.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stderr
    return done.stdout


def tree(disk):
    return {
        str(path.relative_to(disk.root)): path.read_text() if path.is_file() else None for path in disk.root.rglob("*")
    }


def test_what_was_there_before_survives(library, tmp_path):
    (tmp_path / "disk" / "folder").mkdir(parents=True)
    (tmp_path / "disk" / "folder" / "file").write_text("old")
    disk = Disk(library, tmp_path / "disk")
    on(disk, "open('folder/file', 'w').write('new')")
    assert tree(disk) == {"folder": None, "folder/file": "new"}
    disk.cut()
    assert tree(disk) == {"folder": None, "folder/file": "old"}


@pytest.mark.parametrize(
    ("program", "left"),
    [
        pytest.param("open('a', 'w').write('x')", {}, id="neither synced"),
        pytest.param("open('a', 'w').write('x'); sync('a')", {}, id="a file whose name was not synced"),
        pytest.param("open('a', 'w').write('x'); sync('.')", {"a": ""}, id="a name whose file was not synced"),
        pytest.param("open('a', 'w').write('x'); sync('a'); sync('.')", {"a": "x"}, id="both synced"),
        pytest.param(
            "f = open('a', 'w'); f.write('x'); f.flush(); os.fdatasync(f.fileno()); sync('.')\nf.write('y'); f.flush()",
            {"a": "x"},
            id="written after its sync",
        ),
        pytest.param(
            "open('a', 'w').write('x'); sync('a'); sync('.'); os.rename('a', 'b')", {"a": "x"}, id="renamed, not synced"
        ),
        pytest.param(
            "open('a', 'w').write('x'); sync('a'); sync('.'); os.rename('a', 'b'); sync('.')",
            {"b": "x"},
            id="renamed and synced",
        ),
        pytest.param("open('a', 'w').write('x'); sync('a'); sync('.'); os.unlink('a')", {"a": "x"}, id="removed"),
        pytest.param(
            "open('a', 'w').write('x'); sync('a'); sync('.'); os.unlink('a'); sync('.')", {}, id="removed and synced"
        ),
        pytest.param("os.mkdir('d'); open('d/a', 'w').write('x'); sync('d/a'); sync('d')", {}, id="in a lost folder"),
        pytest.param(
            "os.mkdir('d'); open('d/a', 'w').write('x'); sync('d/a'); sync('d'); sync('.')",
            {"d": None, "d/a": "x"},
            id="in a kept folder",
        ),
    ],
)
def test_only_what_was_synced_survives(disk, program, left):
    on(disk, program)
    disk.cut()
    assert tree(disk) == left


def test_a_removed_files_number_is_not_given_to_another_while_its_name_is_still_durable(disk):
    again = "\nfor n in range(50): open(f'n{n}', 'w').write('new'); sync(f'n{n}')"
    on(disk, "open('a', 'w').write('old'); sync('a'); sync('.'); os.unlink('a')" + again)
    disk.cut()
    assert tree(disk) == {"a": "old"}


def test_a_cut_by_chance_keeps_what_was_synced_and_some_of_what_was_not(disk):
    blocks = "f = open('a', 'w'); f.write('s' * 40960); f.flush(); os.fsync(f.fileno()); sync('.')\n"
    on(disk, blocks + "f.seek(20480); f.write('n' * 40960); f.close()")
    disk.cut(random.Random(1))
    content = tree(disk)["a"]
    assert content[:20480] == "s" * 20480
    assert {"s", "n"} <= set(content[20480:])


@pytest.mark.parametrize("number", [1, 3])
def test_a_full_disk_refuses_the_call_that_is_told(disk, number):
    disk.fail(GROWS, errno.ENOSPC, first=number, length=1)
    program = "for name in 'abcd':\n try: os.mkdir(name)\n except OSError as error: print(error.errno)"
    assert int(on(disk, program)) == errno.ENOSPC
    assert disk.count == 4
    assert sorted(tree(disk)) == sorted(set("abcd") - {"abcd"[number - 1]})


def test_a_full_disk_can_take_half_of_what_is_written(disk):
    disk.fail(GROWS, errno.ENOSPC, first=2, shorten=True)
    program = "f = os.open('a', os.O_CREAT | os.O_WRONLY); print(os.write(f, b'12345678'))\ntry: os.write(f, b'9')\n"
    assert on(disk, program + "except OSError as error: print(error.errno)").split() == ["4", str(errno.ENOSPC)]


def test_a_failed_sync_makes_nothing_durable(disk):
    disk.fail(SYNCS, errno.EIO, first=1, length=1)
    program = "open('a', 'w').write('x')\ntry: sync('a')\nexcept OSError as error: print(error.errno)\nsync('.')"
    assert int(on(disk, program)) == errno.EIO
    disk.cut()
    assert tree(disk) == {"a": ""}


def test_a_process_can_be_killed_at_a_call(disk):
    disk.kill_at(2, CHANGES)
    on(disk, "os.mkdir('a'); os.mkdir('b')", expected=-signal.SIGKILL)
    assert sorted(tree(disk)) == ["a"]


def test_a_deaf_disk_forgets_what_it_says_it_has_synced(disk):
    disk.go_deaf()
    on(disk, "open('a', 'w').write('x'); sync('a'); sync('.')")
    disk.cut()
    assert tree(disk) == {}


@pytest.mark.parametrize("chance", [None, 1, 2, 3])
def test_a_committed_row_survives_and_the_database_is_whole(disk, chance):
    program = """
base = sqlite3.connect('base.db', isolation_level=None)
base.execute('PRAGMA journal_mode = WAL'); base.execute('PRAGMA synchronous = FULL')
base.execute('PRAGMA wal_autocheckpoint = 20')
base.execute('CREATE TABLE t (n INTEGER, filler TEXT)')
for n in range(200): base.execute('INSERT INTO t VALUES (?, ?)', (n, 'x' * 500))
base.execute('BEGIN'); base.execute('INSERT INTO t VALUES (-1, 0)')
os._exit(0)
"""
    on(disk, program)
    disk.cut(None if chance is None else random.Random(chance))
    with contextlib.closing(sqlite3.connect(disk.root / "base.db")) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert [n for (n,) in base.execute("SELECT n FROM t ORDER BY n")] == list(range(200))
