"""What `worklist` and `retry` say beside what they were asked for: on stderr, so that programs read on."""

import json
from datetime import UTC, datetime

import pytest
from support.story import STUDY, failed, shipment

from triage_agent.cli import worklist
from triage_agent.domain.vocabulary import Event, Finding, Outcome, Priority
from triage_agent.settings import Settings

FAILED = {"event": Event.FAILED, "finding": Finding.NOT_ASSESSED, "status_reason": "torn"}
EXCLUDED = {"event": Event.EXCLUDED, "finding": Finding.NOT_ASSESSED, "status_reason": "CT"}


@pytest.fixture
def routed(story, monkeypatch):
    """A site with a route to its PACS."""
    peer = {"name": "pacs", "ae_title": "PACS", "host": "pacs", "port": 104}
    settings = Settings(dicom={"peers": [peer]}, routes=[{"to": "pacs", "send": ["sr"]}])
    monkeypatch.setattr(worklist, "load_settings", lambda _config: settings)
    return story


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "2 of 3; --limit shows more"),
        (["--status", "receiving"], "2 of 3; --limit shows more"),
        (["--priority", "routine"], "2 of 3; --limit shows more"),
        (["--status", "receiving", "--priority", "routine"], "the first 2, there are more; --limit shows them"),
    ],
)
def test_a_list_that_was_cut_says_of_how_many(run, story, options, said):
    for number in range(3):
        story.receive(f"1.2.{number + 1}")
    done = run("worklist", "--limit", 2, "--json", *options)
    assert len(json.loads(done.out)) == 2
    assert done.err == f"{said}\n"
    assert run("worklist", "--limit", 3).err == ""


def test_a_filter_counts_its_own(run, story):
    story.receive("1.2.1", requested_priority=Priority.STAT)
    for number in (2, 3):
        story.receive(f"1.2.{number}")
    assert run("worklist", "--limit", 1, "--priority", "routine").err == "1 of 2; --limit shows more\n"


def test_the_list_says_who_takes_nothing_while_a_destination_is_away(run, routed):
    for number in (1, 2):
        routed.decided(shipment(f"2.25.{number}"), study=f"1.2.{number}")
    assert run("worklist").err == ""  # nobody has tried yet
    (delivery,) = routed.deliveries(limit=1)
    routed.worklist.delivery_failed(delivery, "PACS cannot be reached", routed.now, routed.tick())
    assert run("worklist").err == "pacs does not take results, 2 wait in all: PACS cannot be reached\n"
    assert run("worklist", "--json").err == ""


def why(run, study=STUDY):
    done = run("retry", study)
    assert done.out == "0 put back to work\n"
    return done.err.rstrip("\n")


def test_retry_of_a_study_on_its_way_says_that_it_goes_on_by_itself(run, routed):
    routed.receive()
    assert why(run) == "its images are still coming, it is decided by itself"
    routed.complete()
    assert why(run) == "it waits for a worker, it is decided by itself"
    routed.claim()
    assert why(run) == "a worker has it, it is decided by itself"
    routed.decide(shipment())
    assert why(run) == "its results wait for pacs and are tried again by themselves"
    routed.send()
    assert why(run) == "it is delivered and nothing of it failed"


def test_retry_of_a_study_that_nothing_was_to_be_sent_of_says_so(run, story):
    story.decided()
    assert why(run) == "it is decided and nothing of it was to be sent (no route takes it)"


def test_retry_of_what_was_superseded_says_so(run, routed):
    routed.decided(shipment("2.25.1"))
    routed.lose()
    routed.receive()
    routed.complete()
    routed.claim()
    routed.decide(shipment("2.25.2"))
    routed.send()
    assert why(run) == "what failed of it was superseded by a later result"


def test_retry_of_a_study_without_originals_says_when_they_went(run, story):
    story.claimed()
    story.decide(assessments=[failed(f"{STUDY}.1", Outcome.SKIPPED)], **EXCLUDED)
    story.worklist.forget_originals(STUDY, story.tick(), datetime(2026, 4, 1, tzinfo=UTC))
    assert why(run) == "its originals were deleted on 2026-04-01, so that nothing can be scored"


def test_retry_of_a_study_of_which_nothing_was_kept_says_why(run, story):
    story.receive(image="1.2.1.1")
    story.receive("1.2.2", image="1.2.1.1", digest="b" * 64)
    assert "nothing of it could be kept" in why(run, "1.2.2")
    assert "came with other bytes than in study 1.2.1" in why(run, "1.2.2")


def test_retry_of_a_delivery_whose_route_is_gone_says_what_it_waits_for(run, routed):
    routed.decided(shipment("2.25.1", "old-pacs"))
    routed.lose()
    done = run("retry", STUDY)
    assert done.out == "1 put back to work\n"
    assert done.err.startswith("no route leads to old-pacs: what waits for it is not sent until [[routes]] has it")


def test_a_retry_that_works_says_nothing_more(run, routed):
    routed.decided(shipment(), **FAILED)
    done = run("retry", STUDY, "--json")
    assert (json.loads(done.out), done.err) == ({"put_back": 1}, "")
