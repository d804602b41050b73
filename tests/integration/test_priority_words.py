"""A site's own words for priorities, from its configuration to the worklist, whichever way an image comes."""

from datetime import UTC, datetime

import pytest
from support.associations import associate, send
from support.instances import dx, encode, request_for

from triage_agent.domain.vocabulary import Priority
from triage_agent.intake.rebuild import rebuild
from triage_agent.intake.receiver import Receiver
from triage_agent.listening import build_listener
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings
from triage_agent.spooling import build_belonging, build_spool
from triage_agent.worklist import MemoryWorklist

EMERGENCY = {"RequestedProcedurePriority": "emergency"}


def utc_now():
    return datetime.now(UTC)


@pytest.fixture
def settings(tmp_path, free_port):
    peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["store"]}
    return build_settings(
        {
            "data_dir": str(tmp_path),
            "dicom": {"port": free_port, "peers": [peer]},
            "storage": {"low_water_percent": 0},
            "study": {"priority_words": {"stat": ["EMERGENCY"]}},
        },
        "site.toml",
    )


@pytest.fixture
def left(settings):
    """An image in the spool that no worklist knows."""
    data_set = dx(**EMERGENCY)
    receiver = Receiver(build_spool(settings), MemoryWorklist(), settings.study.rule(), utc_now)
    receiver.receive(encode(data_set), **request_for(data_set), source="PACS")
    return data_set.StudyInstanceUID


def priorities(worklist):
    return {item.study_instance_uid: item.priority for item in worklist.items()}


def test_what_is_received_and_what_is_found_at_the_start_have_the_priority_that_the_word_means(settings, left):
    worklist, sent = MemoryWorklist(), dx(**EMERGENCY)
    build_belonging(settings, worklist).mean()
    listener = build_listener(settings, worklist, Metrics(), utc_now, lambda *_: None)
    assert priorities(worklist) == {left: Priority.STAT}
    listener.server.start()
    try:
        association = associate(settings.dicom.port)
        assert send(association, sent) == 0
        association.release()
    finally:
        listener.server.stop(5)
    assert priorities(worklist) == {left: Priority.STAT, sent.StudyInstanceUID: Priority.STAT}


def test_a_rebuilt_worklist_has_it_too(settings, left):
    worklist = MemoryWorklist()
    rebuild(
        build_spool(settings),
        worklist,
        settings.study.rule(),
        utc_now,
        words=settings.study.priority_words.words(),
    )
    assert priorities(worklist) == {left: Priority.STAT}
