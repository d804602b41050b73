"""What waits on one machine for an object store is claimed there only, until it is moved or has waited too long."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.story import RULE, STUDY, T0, received

from triage_agent.worklist import SqlWorklist
from triage_agent.worklist.held import Reachable

HERE, ELSEWHERE = "a" * 16, "b" * 16
HOUR = timedelta(hours=1)
LEASE = timedelta(seconds=30)


@pytest.fixture
def site(engine):
    """The worklist as two machines and one without a folder of its own see it."""
    return [
        SqlWorklist(engine, Reachable(machine=lambda one=one: one, longest=HOUR)) for one in (HERE, ELSEWHERE, None)
    ]


def register(worklist, number, path):
    worklist.register(replace(received(image=f"{STUDY}.{number}"), path=path), RULE)


def test_the_file_of_an_instance_is_moved_once(story):
    register(story.worklist, 1, f"held/{HERE}/incoming/x")
    assert story.worklist.move_original(f"{STUDY}.1", f"held/{HERE}/incoming/x", "incoming/x")
    assert not story.worklist.move_original(f"{STUDY}.1", f"held/{HERE}/incoming/x", "incoming/y")
    assert not story.worklist.move_original(f"{STUDY}.2", "incoming/z", "incoming/y")
    assert list(story.worklist.spool_paths()) == ["incoming/x"]


def test_an_image_is_claimed_where_its_file_is(site):
    here, elsewhere, nowhere = site
    register(here, 1, f"held/{HERE}/incoming/x")
    assert elsewhere.claim_images("e", T0, LEASE, 10) == nowhere.claim_images("n", T0, LEASE, 10) == []
    (image,) = here.claim_images("h", T0, LEASE, 10)
    here.give_back("h", T0)
    here.move_original(image.instance.sop_instance_uid, image.instance.path, "incoming/x")
    assert len(elsewhere.claim_images("e", T0, LEASE, 10)) == 1


def test_a_study_is_claimed_where_all_its_files_can_be_read_and_holds_up_no_other(site):
    here, elsewhere, _ = site
    register(here, 1, "incoming/w")
    register(here, 2, f"held/{HERE}/incoming/x")
    ready = T0 + HOUR / 2
    for view in here.due_for_completion(ready):
        assert here.complete(view, "quiet", ready)
    assert elsewhere.claim_study("e", ready, LEASE) is None
    assert here.claim_study("h", ready, LEASE).study_instance_uid == STUDY


def test_what_has_waited_too_long_is_claimed_by_anybody_so_that_a_human_hears_of_it(site):
    _, elsewhere, _ = site
    register(elsewhere, 1, f"held/{HERE}/incoming/x")
    assert elsewhere.claim_images("e", T0 + HOUR - timedelta(seconds=1), LEASE, 10) == []
    assert len(elsewhere.claim_images("e", T0 + HOUR + timedelta(seconds=1), LEASE, 10)) == 1
