"""One exposition for several processes."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from triage_agent.ops.metrics import Metrics
from triage_agent.ops.processes import counted


@pytest.fixture
def own():
    return Metrics()


def told(process):
    """What a process says, as it comes over the wire."""
    return json.loads(json.dumps(counted(process.registry)))


def shown(metrics):
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def working(stores=0, seconds=()):
    process = Metrics()
    for _ in range(stores):
        process.stores.labels("0x0000").inc()
        process.timings.received_bytes.labels("PACS").inc(10)
    for each in seconds:
        process.scoring_seconds.observe(each)
    return process


def test_what_each_process_has_counted_is_added_up(own):
    others = own.all_processes()
    own.timings.received_bytes.labels("PACS").inc(1)
    others.heard("1", told(working(2, seconds=[0.2])))
    others.heard("2", told(working(3, seconds=[0.2, 20])))
    found = shown(own)
    assert found["triage_store_answers_total", "0x0000"] == 5
    assert found["triage_received_bytes_total", "PACS"] == 51
    assert (found["triage_scoring_seconds_count",], found["triage_scoring_seconds_bucket", "0.25"]) == (3, 2)
    assert found["triage_scoring_seconds_bucket", "+Inf"] == 3


def test_what_a_process_says_again_takes_the_place_of_what_it_said(own):
    others = own.all_processes()
    for stores in (1, 2, 5):
        others.heard("1", told(working(stores)))
    assert shown(own)["triage_store_answers_total", "0x0000"] == 5


def test_a_counter_never_falls_when_a_process_ends_and_another_begins(own):
    others = own.all_processes()
    for number in range(4):
        others.heard(str(number), told(working(2)))
        others.has_ended(str(number))
        others.has_ended(str(number))
    others.heard("5", told(working(0)))
    assert shown(own)["triage_store_answers_total", "0x0000"] == 8


def test_alone_it_is_the_exposition_of_before(own):
    own.stores.labels("0xA700").inc()
    before = shown(own)
    own.all_processes()
    assert shown(own) == before
