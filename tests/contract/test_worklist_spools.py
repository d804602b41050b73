"""Which spool belongs to the worklist, whatever keeps it."""

import threading

from support.story import STUDY, shipment

from triage_agent.domain.vocabulary import Status


def test_the_first_spool_stays_unless_somebody_says_that_another_is_meant(story):
    worklist = story.worklist
    assert worklist.spool_id() is None
    assert worklist.join_spool("a" * 32) == "a" * 32
    assert worklist.join_spool("b" * 32) == "a" * 32
    assert worklist.join_spool("c" * 32, replacing=True) == "c" * 32
    assert worklist.spool_id() == "c" * 32


def test_of_two_that_join_at_once_one_does_and_both_know_which(worklist):
    told, together = [], threading.Barrier(4)

    def join(name):
        together.wait()
        told.append(worklist.join_spool(name * 32))

    threads = [threading.Thread(target=join, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [worklist.spool_id()] * 4


def test_an_original_that_is_found_again_is_retentions_again(story):
    worklist = story.worklist
    story.decided(shipment())
    story.send()
    story.decided(shipment("2.25.2"), study="1.2.4")
    assert sorted(worklist.some_originals(10)) == sorted(["1.2.4.1.dcm", f"{STUDY}.1.dcm"])
    assert len(worklist.some_originals(1)) == 1
    assert not worklist.original_found(f"{STUDY}.1")  # it was never deleted
    assert not worklist.original_found("1.2.9")
    now = story.tick()
    worklist.forget_originals(STUDY, now, now)
    worklist.originals_gone(STUDY, now)
    assert (list(worklist.some_originals(10)), list(worklist.spool_paths())) == (["1.2.4.1.dcm"], ["1.2.4.1.dcm"])
    assert list(worklist.deleted_originals(now)) == []
    assert list(worklist.deleted_originals(story.tick())) == [f"{STUDY}.1.dcm"]
    assert worklist.originals_past(now, 10) == []
    assert worklist.original_found(f"{STUDY}.1")
    assert worklist.originals_past(now, 10) == [STUDY]
    assert worklist.forget_originals(STUDY, now, now) == [f"{STUDY}.1.dcm"]
    assert story.status() is Status.DELIVERED
