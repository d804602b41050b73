"""Storage commitment as provider (PS3.4 annex J): over real associations, with the spool behind them."""

import gc
import time
from datetime import timedelta

import pytest
from pynetdicom import build_context, build_role
from support.associations import associate, eventually, send
from support.commitment import (
    INSTANCE,
    PUSH,
    Reports,
    ask,
    asking,
    listen_for_commitment,
    peer_that_listens,
    reference,
    wanted,
)
from support.instances import dx
from support.listener import utc_now

from triage_agent.delivery.retry import RetryPolicy
from triage_agent.dimse.outgoing import BoundedEntity
from triage_agent.domain.commitment import CommitmentRequest, Reference
from triage_agent.domain.errors import WorklistUnavailableError

# pynetdicom leaves the socket of a refused connection to the garbage collector, which warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def peer(reports):
    with peer_that_listens(reports=reports) as port:
        yield port


@pytest.fixture
def running(tmp_path, peer):
    listening, answerer, _ = listen_for_commitment(tmp_path / "spool", peer)
    yield listening, answerer
    listening.server.stop(1)


@pytest.fixture
def deaf(tmp_path, free_port):
    """A listener whose peer listens nowhere."""
    listening, answerer, _ = listen_for_commitment(tmp_path / "spool", free_port)
    yield listening, answerer
    listening.server.stop(1)


def stored(listening, *objects):
    association = associate(listening.port)
    assert [send(association, each) for each in objects] == [0] * len(objects)
    association.release()
    return [str(each.SOPInstanceUID) for each in objects]


def ask_and_hang_up(listening, information, **details):
    with asking(listening.port) as association:
        return ask(association, information, **details)


def test_what_is_kept_is_committed_on_a_new_association(running, reports):
    listening, answerer = running
    uids = stored(listening, dx(), dx())
    assert ask_and_hang_up(listening, wanted(*uids)) == 0
    assert answerer.step()
    assert reports.kept == [(1, set(uids), {}, "2.25.9")]
    assert not answerer.step()


def test_each_failure_is_named(running, reports):
    listening, answerer = running
    kept, other_class, gone, cut, rotten = stored(listening, dx(), dx(), dx(), dx(), dx())
    for uid, spoil in ((gone, lambda file: file.unlink()), (cut, shorten), (rotten, flip_last_byte)):
        spoil(listening.spool.root / listening.worklist.kept_instances([uid])[uid].path)
    information = wanted(kept, gone, cut, rotten, "1.2.3.4")
    information.ReferencedSOPSequence.append(reference(other_class, "1.2.840.10008.5.1.4.1.1.2"))
    assert ask_and_hang_up(listening, information) == 0
    answerer.step()
    expected = {gone: 0x0110, cut: 0x0110, rotten: 0x0110, "1.2.3.4": 0x0112, other_class: 0x0119}
    assert reports.kept == [(2, {kept}, expected, "2.25.9")]


def shorten(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip_last_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_the_same_transaction_again_is_answered_again(running, reports):
    listening, answerer = running
    uids = stored(listening, dx())
    for _ in range(2):
        assert ask_and_hang_up(listening, wanted(*uids)) == 0
        assert answerer.step()
    assert [event for event, *_ in reports.kept] == [1, 1]


def test_ten_thousand_references_are_answered(running, reports):
    listening, answerer = running
    uids = stored(listening, dx())
    others = [f"1.2.3.{number}" for number in range(9_999)]
    assert ask_and_hang_up(listening, wanted(*uids, *others)) == 0
    assert answerer.step()
    ((event, committed, failed, _),) = reports.kept
    assert (event, committed, len(failed)) == (2, set(uids), 9_999)


def without(keyword):
    information = wanted("1.2.3")
    delattr(information, keyword)
    return information


def spoilt(keyword, value):
    information = wanted("1.2.3")
    setattr(information, keyword, value)
    return information


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    ("information", "details", "status"),
    [
        (lambda: None, {}, 0x0115),
        (lambda: without("TransactionUID"), {}, 0x0115),
        (lambda: without("ReferencedSOPSequence"), {}, 0x0115),
        (lambda: spoilt("TransactionUID", "../../etc"), {}, 0x0115),
        (lambda: spoilt("ReferencedSOPSequence", []), {}, 0x0115),
        (lambda: wanted("1.2.x"), {}, 0x0115),
        (lambda: wanted("1.2.3"), {"action": 2}, 0x0123),
        (lambda: wanted("1.2.3"), {"instance": "1.2.3"}, 0x0112),
    ],
)
def test_a_request_that_is_not_as_the_standard_wants_it_is_refused(running, information, details, status):
    listening, answerer = running
    assert ask_and_hang_up(listening, information(), **details) == status
    assert not answerer.step()


def test_a_database_that_is_away_refuses_the_request_so_that_the_peer_asks_again(running, monkeypatch):
    listening, _ = running

    def away(*_):
        raise WorklistUnavailableError("the database is away")

    monkeypatch.setattr(listening.worklist, "keep_commitment_request", away)
    assert ask_and_hang_up(listening, wanted("1.2.3")) == 0x0213


def test_a_peer_that_may_not_ask_is_refused_the_presentation_context(running):
    listening, _ = running
    with asking(listening.port, calling="RIS") as association:
        assert not association.is_established


def test_a_peer_that_listens_nowhere_is_told_on_the_association_it_asked_on(deaf):
    listening, answerer = deaf
    uids, heard = stored(listening, dx()), Reports()
    with asking(listening.port, reports=heard) as association:
        assert ask(association, wanted(*uids)) == 0
        assert answerer.step()
        assert heard.kept == [(1, set(uids), {}, "2.25.9")]
        assert ask(association, wanted(*uids, transaction_uid="2.25.10")) == 0, "it serves on"
    assert listening.worklist.claim_commitment_request(utc_later(), utc_later()).request.transaction_uid == "2.25.10"


def utc_later():
    return utc_now() + timedelta(hours=1)


def test_an_association_that_was_told_on_serves_its_other_contexts_too(tmp_path, free_port):
    listening, answerer, _ = listen_for_commitment(tmp_path / "spool", free_port)
    heard = Reports()
    try:
        uids = stored(listening, dx())
        entity = BoundedEntity("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        contexts = [build_context(PUSH), build_context("1.2.840.10008.1.1")]
        association = entity.associate(
            "127.0.0.1", listening.port, contexts=contexts, ae_title="TRIAGE", evt_handlers=heard.handlers()
        )
        assert ask(association, wanted(*uids)) == 0
        assert answerer.step()
        assert association.send_c_echo().Status == 0
        association.release()
        assert len(heard.kept) == 1
    finally:
        listening.server.stop(1)


def test_a_peer_that_is_away_is_told_when_it_is_back(deaf, free_port, reports):
    listening, answerer = deaf
    uids = stored(listening, dx())
    assert ask_and_hang_up(listening, wanted(*uids)) == 0
    assert answerer.step()
    assert reports.kept == []
    with peer_that_listens(free_port, reports):
        assert eventually(lambda: answerer.step() and reports.kept)
    assert reports.kept == [(1, set(uids), {}, "2.25.9")]


def test_a_peer_that_refuses_the_report_is_told_once(tmp_path):
    refusing = Reports(status=0x0115)
    with peer_that_listens(reports=refusing) as port:
        listening, answerer, _ = listen_for_commitment(tmp_path / "spool", port)
        try:
            ask_and_hang_up(listening, wanted("1.2.3"))
            assert answerer.step()
            time.sleep(0.2)
            assert not answerer.step()
            assert len(refusing.kept) == 1
        finally:
            listening.server.stop(1)


def test_one_peer_that_is_away_does_not_hold_up_another(tmp_path, reports, free_port):
    """The second request is due later, and is answered while the first waits for its peer."""
    retry = RetryPolicy(first=timedelta(hours=1), longest=timedelta(hours=2))
    with peer_that_listens(reports=reports) as port:
        listening, answerer, _ = listen_for_commitment(tmp_path / "spool", port, retry=retry)
        try:
            asked = CommitmentRequest(peer="gone", transaction_uid="2.25.8", references=(Reference("1.2", "1.2.3"),))
            listening.worklist.keep_commitment_request(asked, utc_now(), utc_now())
            ask_and_hang_up(listening, wanted("1.2.3"))
            assert answerer.step()
            assert answerer.step()
            assert [transaction for *_, transaction in reports.kept] == ["2.25.8", "2.25.9"]
        finally:
            listening.server.stop(1)


@pytest.mark.parametrize("roles", [[build_role(PUSH, scp_role=True)], []])
def test_a_peer_that_reports_to_us_is_heard_with_and_without_role_selection(tmp_path, roles):
    listening, _, reported = listen_for_commitment(tmp_path / "spool", 104, may=("report",))
    try:
        entity = BoundedEntity("PACS")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
        association = entity.associate(
            "127.0.0.1", listening.port, contexts=[build_context(PUSH)], ae_title="TRIAGE", ext_neg=roles or None
        )
        (context,) = association.accepted_contexts
        assert context.as_scp is bool(roles)
        status, _ = association.send_n_event_report(wanted("1.2.3"), 1, PUSH, INSTANCE)
        assert status.Status == 0
        status, _ = association.send_n_event_report(wanted("1.2.3"), 7, PUSH, INSTANCE)
        assert status.Status == 0x0115
        assert ask(association, wanted("1.2.3")) == 0x0124 if not roles else True
        association.release()
        ((names, said),) = reported
        assert names == {"pacs"}
        assert [each.sop_instance_uid for each in said.committed] == ["1.2.3"]
    finally:
        listening.server.stop(1)
