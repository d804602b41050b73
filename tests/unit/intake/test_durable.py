import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake import durable, writeback
from triage_agent.intake.durable import DurableStore


@pytest.fixture
def store(tmp_path):
    return DurableStore(tmp_path / "spool")


@pytest.fixture
def calls(monkeypatch):
    """What reaches the disk, in order."""
    recorded = []
    fsync, rename = os.fsync, Path.rename

    def spy_fsync(descriptor):
        recorded.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def spy_rename(file, target):
        recorded.append(("rename", Path(target)))
        return rename(file, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "rename", spy_rename)
    return recorded


def test_a_file_is_synced_then_named_then_its_folders_are_synced_up_to_the_root(store, calls):
    final = store.root / "a" / "b" / "file"
    store.put(final, [b"one", b"two"])
    assert final.read_bytes() == b"onetwo"
    assert calls[0][0] == "fsync"
    assert calls[0][1].parent == store.root / "tmp"
    assert calls[1:] == [
        ("rename", final),
        ("fsync", store.root / "a" / "b"),
        ("fsync", store.root / "a"),
        ("fsync", store.root),
    ]


def test_the_folders_above_the_spool_are_synced_when_it_is_made(tmp_path, calls):
    DurableStore(tmp_path / "new" / "var" / "spool")
    above = [tmp_path / "new" / "var" / "spool", tmp_path / "new" / "var", tmp_path / "new", tmp_path, tmp_path.parent]
    assert [where for _, where in calls][: len(above)] == above


def test_folders_that_are_known_to_be_durable_are_not_synced_again(store, calls):
    store.put(store.root / "a" / "one", [b"1"])
    calls.clear()
    store.put(store.root / "a" / "two", [b"2"])
    assert [what for what, _ in calls] == ["fsync", "rename", "fsync"]


def test_a_folder_that_somebody_else_made_is_made_durable_before_it_is_relied_on(store, calls):
    (store.root / "a").mkdir()
    store.put(store.root / "a" / "one", [b"1"])
    assert ("fsync", store.root) in calls


def test_a_folder_that_was_removed_and_made_again_is_made_durable_again(store, calls):
    final = store.root / "a" / "b" / "file"
    store.put(final, [b"1"])
    shutil.rmtree(store.root / "a" / "b")
    calls.clear()
    store.put(final, [b"1"])
    assert ("fsync", store.root / "a") in calls
    assert ("fsync", store.root) not in calls


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("where", ["writev", "fsync"])
def test_a_disk_that_refuses_leaves_nothing_behind(store, monkeypatch, number, where):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, where, refuse)
    with pytest.raises(StorageExhaustedError, match=os.strerror(number)):
        store.put(store.root / "a" / "file", [b"bytes"])
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_kernel_that_takes_a_little_at_a_time_gets_everything(store, monkeypatch):
    def a_little(descriptor, buffers):
        return os.write(descriptor, buffers[0][:3])

    monkeypatch.setattr(os, "writev", a_little)
    store.put(store.root / "file", [b"0123456789", memoryview(b"abcd"), b""])
    assert (store.root / "file").read_bytes() == b"0123456789abcd"


def test_moving_keeps_both_folders_durable(store, calls):
    store.put(store.root / "from" / "file", [b"1"])
    calls.clear()
    store.move(store.root / "from" / "file", store.root / "to" / "file")
    assert calls[0] == ("rename", store.root / "to" / "file")
    assert {folder for _, folder in calls[1:]} == {store.root / "to", store.root / "from", store.root}


def test_unfinished_files_of_writers_that_are_gone_are_removed_and_others_are_not(store):
    abandoned, held = store.root / "tmp" / "1-dead", store.root / "tmp" / "2-alive"
    abandoned.write_bytes(b"half")
    with held.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert store.remove_stale() == 1
        assert not abandoned.exists()
        assert held.exists()


def test_where_others_make_folders_too_each_file_has_all_of_its_folders_synced(tmp_path, calls):
    ours, theirs = (DurableStore(tmp_path / "spool", shared=True) for _ in range(2))
    ours.put(ours.root / "a" / "one", [b"1"])
    shutil.rmtree(ours.root / "a")
    (theirs.root / "a").mkdir()  # made by another process, which has not come to sync it
    calls.clear()
    ours.put(ours.root / "a" / "two", [b"2"])
    assert ("fsync", ours.root) in calls


def test_only_so_many_folders_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "_MOST_REMEMBERED", 3)
    store = DurableStore(tmp_path / "spool")
    for number in range(6):
        store.put(store.root / str(number) / "file", [b""])
    assert len(store._durable) == 3


def test_a_root_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageExhaustedError, match="Not a directory"):
        DurableStore(tmp_path / "file" / "spool")


def test_a_start_beside_a_writer_does_not_take_a_file_that_is_not_locked_yet(store, monkeypatch):
    """Another process looks for abandoned files just after this one has made its own."""
    real, other, seen = durable.fcntl.flock, durable.DurableStore(store.root), []

    def look_first(descriptor, how):
        if not seen:
            seen.append(None)
            seen[0] = other.remove_stale()
        return real(descriptor, how)

    monkeypatch.setattr(durable.fcntl, "flock", look_first)
    store.put(store.root / "a" / "file", [b"bytes"])
    assert seen == [1]
    assert (store.root / "a" / "file").read_bytes() == b"bytes"
    assert list((store.root / "tmp").iterdir()) == []


def test_a_store_whose_beginnings_are_gone_says_so(store):
    store.prove()
    assert list((store.root / "tmp").iterdir()) == []
    (store.root / "tmp").rmdir()
    with pytest.raises(StorageExhaustedError, match="No such file"):
        store.prove()


def test_the_kernel_begins_to_write_a_file_that_grows_before_it_is_synced(store, monkeypatch):
    begun = []
    monkeypatch.setattr(durable, "begin_to_write", lambda _descriptor, start, size: begun.append((start, size)))
    with store.begin() as file:
        for _ in range(5):
            file.append(b"x" * (durable._BEGIN_EVERY // 2), b"y")
        assert begun == [(0, durable._BEGIN_EVERY + 2), (durable._BEGIN_EVERY + 2, durable._BEGIN_EVERY + 2)]


def test_what_the_kernel_is_asked_to_begin_with_is_written(tmp_path):
    with (tmp_path / "file").open("wb") as file:
        file.write(b"x" * 10_000)
        file.flush()
        assert writeback._sync_file_range(file.fileno(), 0, 10_000, 2) == 0
        assert writeback._sync_file_range(file.fileno(), -1, 10_000, 2) == -1
        writeback.begin_to_write(file.fileno(), -1, 10_000)  # what goes wrong is fsync's to tell
