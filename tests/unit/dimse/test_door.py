"""Associations that come in and are of no use, since what they propose is not permitted."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pynetdicom import build_context
from pynetdicom.pdu_primitives import A_ASSOCIATE
from structlog.testing import capture_logs
from support.instances import DX

from triage_agent.dimse.contexts import VERIFICATION
from triage_agent.dimse.door import NOTHING_PERMITTED, Door
from triage_agent.dimse.peers import AccessPolicy, Peer

UNHEARD_OF = "1.2.3.4"


@pytest.fixture
def rejected():
    """What was counted."""
    return []


@pytest.fixture
def request_by(rejected):
    """Ask with contexts as PACS, which may `may`; gives the log's lines."""

    def ask(*proposed, may=frozenset({"query"}), times=1):
        peer = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=104, may=may)
        door = Door(
            "TRIAGE",
            policy=AccessPolicy((peer,), accept_unknown=False, own=None),
            audit=lambda _event: None,
            clock=lambda: datetime.now(UTC),
            rejected=rejected.append,
        )
        request = A_ASSOCIATE()
        request.calling_ae_title, request.called_ae_title = "PACS", "TRIAGE"
        request.presentation_context_definition_list = [build_context(uid) for uid in proposed]
        for number, context in enumerate(request.presentation_context_definition_list):
            context.context_id = 2 * number + 1
        with capture_logs() as lines:
            for _ in range(times):
                association = SimpleNamespace(
                    requestor=SimpleNamespace(primitive=request, address="127.0.0.1"),
                    acceptor=SimpleNamespace(supported_contexts=None),
                    dul=SimpleNamespace(socket=None),
                    is_alive=lambda: False,
                )
                door.on_requested(SimpleNamespace(assoc=association))
        return [line for line in lines if line["event"] == "association_permitted_nothing"]

    return ask


def test_one_of_which_nothing_is_permitted_is_told_and_counted(request_by, rejected):
    (line,) = request_by(DX)
    assert (line["log_level"], line["calling_ae_title"], line["address"]) == ("warning", "PACS", "127.0.0.1")
    assert rejected == [NOTHING_PERMITTED]


def test_of_many_some_are_told_and_all_are_counted(request_by, rejected):
    assert len(request_by(DX, times=30)) == 10
    assert len(rejected) == 30


@pytest.mark.parametrize(
    ("proposed", "may"),
    [([DX], {"store"}), ([DX, VERIFICATION], {"query"}), ([UNHEARD_OF], {"query"}), ([VERIFICATION], set())],
)
def test_what_is_of_use_or_what_nobody_is_permitted_is_not_told(request_by, rejected, proposed, may):
    assert request_by(*proposed, may=frozenset(may)) == []
    assert rejected == []
