"""Parts of the spool in an object store that need no store: names, copies, and when one that is away is asked again."""

import itertools
import shutil
import threading

import pytest
from support.instances import dx, encode, header_of, part10

from triage_agent.domain.errors import StorageExhaustedError
from triage_agent.intake.objects.ahead import WriteAhead, held_in, name_of
from triage_agent.intake.objects.cache import Cache, DamagedError
from triage_agent.intake.objects.files import Reach
from triage_agent.intake.objects.names import held_path, split_path
from triage_agent.intake.objects.port import StoreAwayError
from triage_agent.intake.spool import Spool


@pytest.mark.parametrize("key", ["incoming/ab/c/d-e.dcm", "quarantine/ab/x.bin"])
def test_a_path_says_where_an_instance_waits(key):
    assert split_path(held_path("0123456789abcdef", key)) == ("0123456789abcdef", key)
    assert split_path(key) == (None, key)


@pytest.mark.parametrize("path", ["held/x/incoming/a", "held/0123456789abcdef", "held/../../etc/passwd", ""])
def test_what_is_no_such_path_is_taken_as_a_name_of_the_store(path):
    assert split_path(path) == (None, path)


class Time:
    now = 100.0

    def __call__(self):
        return self.now


def failing():
    raise StoreAwayError("it does not answer")


def test_a_store_that_is_away_is_asked_ever_more_seldom_and_at_once_when_it_is_back():
    time = Time()
    reach, asked = Reach(time), []

    def ask(action=failing):
        try:
            return reach.ask(lambda: asked.append(time.now) or action())
        except StoreAwayError:
            return None

    while time.now < 200:
        ask()
        time.now += 0.5
    pauses = [later - sooner for sooner, later in itertools.pairwise(asked)]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert reach.away == "it does not answer"
    time.now += 30
    assert ask(lambda: "here") == "here"
    assert reach.away == ""
    ask()
    asked.clear()
    time.now += 1.1
    ask()
    assert len(asked) == 1


def test_while_one_tries_a_store_that_was_away_others_do_not_wait():
    time = Time()
    reach = Reach(time)
    with pytest.raises(StoreAwayError):
        reach.ask(failing)
    time.now += 2
    begun, end, others = threading.Event(), threading.Event(), []
    trying = threading.Thread(target=lambda: reach.ask(lambda: begun.set() or end.wait(10)))
    trying.start()
    assert begun.wait(10)
    with pytest.raises(StoreAwayError):
        reach.ask(lambda: others.append(1))
    end.set()
    trying.join()
    assert others == []


@pytest.fixture
def originals(tmp_path):
    """Files of a spool, by their paths."""
    spool = Spool(tmp_path / "spool", 0)
    made = {}
    for number in range(4):
        data_set = dx(AccessionNumber=str(number))
        path = spool.write(encode(data_set), header_of(data_set), source="PACS").path
        made[path] = (spool.root / path).read_bytes()
    return made


def fetching(originals, fetched):
    return lambda key: lambda file: fetched.append(key) or file.write_bytes(originals[key])


def test_a_copy_is_fetched_once(tmp_path, originals):
    cache, fetched = Cache(tmp_path / "cache", 1 << 20), []
    fetch = fetching(originals, fetched)
    for _ in range(2):
        for key, content in originals.items():
            with cache.opened(key, fetch(key)) as file:
                assert file.read_bytes() == content
    assert fetched == list(originals)
    shutil.rmtree(tmp_path / "cache")  # which a site may do at any time
    with cache.opened(fetched[0], fetch(fetched[0])):
        assert len(fetched) == len(originals) + 1


def test_the_longest_unused_copies_go_and_one_in_use_stays(tmp_path, originals):
    size = len(next(iter(originals.values())))
    cache, fetched = Cache(tmp_path / "cache", int(2.5 * size)), []
    fetch = fetching(originals, fetched)
    first, *others = originals
    with cache.opened(first, fetch(first)) as file:
        for key in others:
            with cache.opened(key, fetch(key)):
                pass
        assert file.read_bytes() == originals[first]
    left = list((tmp_path / "cache" / "incoming").rglob("*.dcm"))
    assert 1 <= len(left) <= 2
    assert tmp_path / "cache" / others[-1] in left


@pytest.mark.parametrize("content", [b"", b"no DICOM", part10(dx())])
def test_what_is_not_what_its_name_says_is_no_copy(tmp_path, originals, content):
    cache, key = Cache(tmp_path / "cache", 1 << 20), next(iter(originals))
    with pytest.raises(DamagedError), cache.opened(key, lambda file: file.write_bytes(content)):
        pass
    assert not (tmp_path / "cache" / key).exists()
    with cache.opened(key, lambda file: file.write_bytes(originals[key])):
        pass
    (tmp_path / "cache" / key).write_bytes(content)  # a power cut; another process finds it
    with Cache(tmp_path / "cache", 1 << 20).opened(key, lambda file: file.write_bytes(originals[key])) as file:
        assert file.read_bytes() == originals[key]


def test_a_write_ahead_folder_has_one_name_for_ever_and_for_all_that_begin_at_once(tmp_path):
    assert name_of(tmp_path / "w") is None
    names, together = [], threading.Barrier(4)

    def begin():
        together.wait()
        names.append(WriteAhead(tmp_path / "w", 0).machine)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names) == {name_of(tmp_path / "w")}
    assert list(held_in(tmp_path / "w")) == list(held_in(tmp_path / "nowhere")) == []


def test_a_full_disk_refuses_what_would_wait_on_it(tmp_path):
    ahead = WriteAhead(tmp_path, 100.0)
    data_set = dx()
    with pytest.raises(StorageExhaustedError):
        ahead.spool.write(encode(data_set), header_of(data_set), source="PACS")
    assert ahead.waiting() == []
