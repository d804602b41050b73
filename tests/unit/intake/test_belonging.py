"""A spool and a database are each other's, or nothing is taken from the one into the other."""

import pytest
from support.instances import dx, encode, request_for
from support.story import RULE, T0

from triage_agent.domain.errors import ConfigurationError, StorageExhaustedError, TriageError
from triage_agent.intake import belonging
from triage_agent.intake.belonging import NAME, Belonging, Bond, Seen, judge, look_without_database
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist import MemoryWorklist

NOTHING = {"marked": None, "noted": None, "files": False, "studies": False, "originals": False, "kin": False}


@pytest.mark.parametrize(
    ("seen", "bond"),
    [
        ({}, Bond.NEW),
        ({"marked": "a", "noted": "a", "files": True, "studies": True}, Bond.TOGETHER),
        ({"marked": "a", "noted": "b"}, Bond.STRANGERS),
        ({"marked": "a", "noted": "b", "files": True, "studies": True, "originals": True, "kin": True}, Bond.STRANGERS),
        ({"marked": "a"}, Bond.NEW),  # it died between the two, or the database is to be another from the start on
        ({"marked": "a", "files": True}, Bond.UNCLAIMED),
        ({"files": True}, Bond.UNCLAIMED),
        ({"marked": "a", "files": True, "studies": True, "originals": True}, Bond.STRANGERS),
        ({"files": True, "studies": True}, Bond.STRANGERS),
        ({"noted": "a"}, Bond.AWAY),
        ({"noted": "a", "files": True, "studies": True, "originals": True}, Bond.AWAY),
        ({"studies": True, "originals": True}, Bond.AWAY),  # of before there were ids, and its disk is not mounted
        ({"studies": True}, Bond.NEW),  # of before there were ids, and retention has deleted everything
        ({"files": True, "studies": True, "originals": True, "kin": True}, Bond.KIN),
        ({"noted": "a", "files": True, "studies": True, "originals": True, "kin": True}, Bond.KIN),
        ({"marked": "a", "files": True, "studies": True, "originals": True, "kin": True}, Bond.KIN),
    ],
)
def test_ids_decide_and_where_there_are_none_what_is_in_them(seen, bond):
    assert judge(Seen(**{**NOTHING, **seen})) is bond


@pytest.fixture
def root(tmp_path):
    return tmp_path / "var" / "spool"


def site(root, worklist=None):
    """A worklist that has been started with the spool at `root`."""
    worklist = worklist or MemoryWorklist()
    Belonging(root, worklist).settle()
    return worklist


def receive(root, worklist):
    data_set = dx()
    receiver = Receiver(Spool(root, 0), worklist, RULE, lambda: T0)
    return receiver.receive(encode(data_set), **request_for(data_set), source="PACS")


def contents(root):
    return sorted(path for path in root.rglob("*")) if root.exists() else None


def test_what_is_new_is_joined_and_stays_so(root):
    worklist = site(root)
    assert (root / NAME).read_text() == worklist.spool_id()
    receive(root, worklist)
    assert Belonging(root, site(root, worklist)).look() is Bond.TOGETHER


def test_an_empty_database_does_not_adopt_a_spool_by_itself_and_its_own_goes_on(root):
    right, mistyped = site(root), MemoryWorklist()
    receive(root, right)
    with pytest.raises(ConfigurationError, match=r"the database is empty.*correct \[database\] url.*db rebuild`$"):
        Belonging(root, mistyped).settle()
    assert mistyped.spool_id() is None
    site(root, right)


def test_who_says_that_it_is_meant_gets_the_spool_and_the_other_database_loses_it(root):
    right, meant = site(root), MemoryWorklist()
    receive(root, right)
    Belonging(root, meant).mean()
    site(root, meant)
    with pytest.raises(ConfigurationError, match=r"belongs to another database.*db rebuild --with-studies"):
        Belonging(root, right).settle()


def test_another_sites_spool_is_refused(root, tmp_path):
    here, there = site(root), site(tmp_path / "other")
    for place, worklist in ((tmp_path / "other", here), (root, there)):
        with pytest.raises(ConfigurationError, match="belongs to another database"):
            Belonging(place, worklist).settle()


def test_a_disk_that_is_not_mounted_is_told_and_nothing_is_made_in_its_place(root):
    worklist = site(root)
    receive(root, worklist)
    root.rename(root.with_name("elsewhere"))
    for left in ("nothing", "the place"):
        with pytest.raises(TriageError, match=r"not the spool that the database knows.*mount its disk"):
            Belonging(root, worklist).settle()
        assert contents(root) == (None if left == "nothing" else [])
        root.mkdir(exist_ok=True)
    root.rmdir()
    root.with_name("elsewhere").rename(root)
    site(root, worklist)


def test_whoever_only_reads_the_spool_notices_too_and_writes_nothing(root):
    worklist = MemoryWorklist()
    Belonging(root, worklist).require()  # neither is there yet
    assert contents(root) is None
    site(root, worklist)
    Belonging(root, worklist).require()
    (root / NAME).unlink()
    with pytest.raises(TriageError, match="not the spool"):
        Belonging(root, worklist).require()


def test_a_site_of_before_there_were_ids_gets_one_by_itself(root):
    worklist = MemoryWorklist()
    receive(root, worklist)
    site(root, worklist)
    assert (root / NAME).read_text() == worklist.spool_id()


def test_an_id_that_a_copy_left_out_is_written_again(root):
    worklist = site(root)
    receive(root, worklist)
    before = worklist.spool_id()
    for broken in (b"", b"\0" * 32, b"../../etc/passwd", b"a" * 10_000):
        (root / NAME).write_bytes(broken)
        site(root, worklist)
        assert ((root / NAME).read_text(), worklist.spool_id()) == (before, before)


def test_two_that_start_at_once_with_a_new_spool_agree(root, monkeypatch):
    first, second = MemoryWorklist(), MemoryWorklist()
    second.join_spool = first.join_spool
    second.spool_id = lambda: None  # as it was before the first had said it
    site(root, first)
    site(root, second)
    assert first.spool_id() == (root / NAME).read_text()


def test_a_disk_that_refuses_is_told(root, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(belonging.os, "fsync", refuse)
    with pytest.raises(StorageExhaustedError, match="No space left"):
        site(root)


def test_before_the_database_is_made_a_spool_with_files_is_refused_and_a_new_one_is_not(root):
    assert look_without_database(root) is Bond.NEW
    receive(root, site(root))
    with pytest.raises(ConfigurationError, match="the database is empty"):
        look_without_database(root)
