"""What strangers, broken peers and bursts do to the listener: nothing to the others."""

import random
import socket
import struct
import threading
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_STORE
from support.data import shared_data
from support.instances import DX, EXPLICIT, IMPLICIT, dx, encode
from support.listener import listen

from triage_agent.dimse import association as machinery
from triage_agent.dimse.outgoing import BoundedEntity
from triage_agent.dimse.server import _status
from triage_agent.domain.errors import ConfigurationError

VERIFICATION = "1.2.840.10008.1.1"


@pytest.fixture
def listening(tmp_path):
    running = listen(tmp_path / "spool", max_associations=60)
    yield running
    running.server.stop(1)
    assert threads() == [], "an association outlived its server"


@pytest.fixture
def impatient(tmp_path):
    """A listener that waits for two seconds where it usually waits for thirty."""
    running = listen(tmp_path / "impatient", timeout_seconds=2.0)
    yield running
    running.server.stop(1)
    assert threads() == []


def threads():
    """Threads of accepted associations, both the association's and its upper layer's."""
    return [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, (machinery.GuardedAssociation, machinery.UpperLayer))
    ]


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def associate(port, sop_class=DX, syntax=EXPLICIT, calling="PACS"):
    entity = BoundedEntity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    return entity.associate("127.0.0.1", port, contexts=[build_context(sop_class, syntax)], ae_title="TRIAGE")


def send(association, data_set):
    """The status of sending a data set as it is encoded here."""
    return send_bytes(association, encode(data_set), data_set.SOPInstanceUID)


def send_bytes(association, encoded, sop_instance_uid, sop_class=DX):
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, sop_instance_uid
    request.DataSet = BytesIO(encoded)
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer.Status if answer else None


def healthy(listening):
    """Whether a well-behaved peer is served."""
    association = associate(listening.port)
    if not association.is_established:
        return False
    status = send(association, dx())
    association.release()
    return status == 0


def request_pdu(calling="PACS", called="TRIAGE", contexts=((VERIFICATION, EXPLICIT),)):
    """An encoded A-ASSOCIATE-RQ."""
    entity, caught = BoundedEntity(calling), []
    entity.acse_timeout = entity.network_timeout = 1

    def catch(server):
        connection, _ = server.accept()
        with connection:
            caught.append(connection.recv(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=catch, args=[server])
        thread.start()
        proposed = [build_context(*context) for context in contexts]
        entity.associate("127.0.0.1", server.getsockname()[1], contexts=proposed, ae_title=called)
        thread.join()
    return caught[0]


def answer_to(port, sent, seconds=5.0, more=False):
    """Everything the listener says to raw bytes, after which `more` may come or not, until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(seconds)
        heard = b""
        try:
            connection.sendall(sent)
            if not more:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                heard += piece
        except ConnectionError:
            pass
        return heard


def test_a_hundred_associations_in_a_row_do_not_get_slower(listening):
    seconds = []
    for _ in range(100):
        started = time.perf_counter()
        association = associate(listening.port, VERIFICATION, "1.2.840.10008.1.2")
        assert association.is_established
        association.release()
        seconds.append(time.perf_counter() - started)
    early, late = sorted(seconds[:20])[10], sorted(seconds[-20:])[10]
    assert late < 3 * early + 0.5
    assert eventually(lambda: threads() == [])


def test_fifty_peers_at_once_are_all_served(listening):
    statuses = []

    def one():
        association = associate(listening.port)
        statuses.extend(send(association, dx()) for _ in range(3))
        association.release()

    peers = [threading.Thread(target=one) for _ in range(50)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join(60)
    assert statuses == [0] * 150
    assert len(listening.kept()) == 150


def test_probes_that_connect_and_hang_up_leave_nothing(listening):
    assert healthy(listening)
    assert eventually(lambda: threads() == [])
    before = descriptors()
    for _ in range(200):
        socket.create_connection(("127.0.0.1", listening.port), 5).close()
    assert eventually(lambda: threads() == []), "probes are held until the association timeout"
    assert eventually(lambda: descriptors() <= before + 2)
    assert healthy(listening)


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_hung_up_on(listening, seed):
    rng = random.Random(seed)
    for size in (1, 5, 6, 7, 100, 5000):
        answer_to(listening.port, rng.randbytes(size))
    for kind in range(1, 9):  # every PDU type there is, and one more
        answer_to(listening.port, struct.pack(">BBI", kind, 0, 40) + rng.randbytes(40))
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_association_request_harms_nobody(listening, seed):
    rng, whole = random.Random(seed), request_pdu()
    for _ in range(30):
        broken = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            broken[rng.randrange(6, len(broken))] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", listening.port), 5) as connection:
            connection.sendall(broken)
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize("seed", range(3))
def test_broken_messages_on_an_association_harm_nobody(listening, seed):
    rng, whole = random.Random(seed), request_pdu()
    for size in (0, 1, 5, 6, 20, 200):
        with socket.create_connection(("127.0.0.1", listening.port), 5) as connection:
            connection.settimeout(5)
            connection.sendall(whole)
            assert connection.recv(6)[0] == 2  # A-ASSOCIATE-AC
            value = rng.randbytes(size)
            item = struct.pack(">IBB", size + 2, 1, rng.choice([0, 1, 2, 3])) + value
            connection.sendall(struct.pack(">BBI", 4, 0, len(item)) + item)
            connection.sendall(rng.randbytes(50))
    assert healthy(listening)
    assert eventually(lambda: threads() == [])


def test_a_pdu_that_announces_gigabytes_is_not_waited_for(listening):
    started = time.monotonic()
    answer_to(listening.port, struct.pack(">BBI", 1, 0, 0xFFFFFFF0) + b"x" * 100, more=True)
    assert time.monotonic() - started < 10
    assert eventually(lambda: threads() == [])


@pytest.mark.parametrize(
    "said", [b"", b"\1", request_pdu, lambda: request_pdu()[:50]], ids=["nothing", "a byte", "a request", "half of one"]
)
def test_silence_is_timed_out(impatient, said):
    started = time.monotonic()
    answer_to(impatient.port, said() if callable(said) else said, seconds=15, more=True)
    assert 1.5 < time.monotonic() - started < 12
    assert eventually(lambda: threads() == [])


def test_a_peer_that_drips_is_timed_out(impatient):
    whole = request_pdu()
    with socket.create_connection(("127.0.0.1", impatient.port), 5) as connection:
        started = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - which of the two calls notices is chance
            for byte in whole:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
            connection.settimeout(1)
            raise OSError if not connection.recv(1) else AssertionError
        assert time.monotonic() - started < 10
    assert eventually(lambda: threads() == [])


def test_slow_and_silent_peers_do_not_keep_others_waiting(listening):
    idlers = [socket.create_connection(("127.0.0.1", listening.port), 5) for _ in range(40)]
    try:
        started = time.monotonic()
        assert healthy(listening)
        assert time.monotonic() - started < 10
    finally:
        for idler in idlers:
            idler.close()


def test_more_peers_than_allowed_are_told_to_come_back(tmp_path):
    running = listen(tmp_path / "spool", max_associations=3)
    try:
        held = [associate(running.port, VERIFICATION, "1.2.840.10008.1.2") for _ in range(3)]
        refused = associate(running.port, VERIFICATION, "1.2.840.10008.1.2")
        assert [each.is_established for each in held] == [True] * 3
        assert refused.is_rejected
        assert "Transient" in refused.acceptor.primitive.result_str
        for each in held:
            each.release()
        assert eventually(lambda: threads() == [])
        assert healthy(running)
    finally:
        running.server.stop(1)


@pytest.mark.parametrize("ending", ["abort", "close", "reset"])
def test_a_sender_that_ends_in_the_middle_leaves_nothing(listening, ending):
    def fragment(kind, value):
        item = struct.pack(">IBB", len(value) + 2, 1, kind) + value
        return struct.pack(">BBI", 4, 0, len(item)) + item

    command, data = 3, 0  # the last of the command, some of the data set (PS3.8 annex E.2)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", listening.port), 5) as connection:
            connection.settimeout(10)
            connection.sendall(request_pdu(contexts=[(DX, EXPLICIT)]))
            assert connection.recv(6)[0] == 2  # A-ASSOCIATE-AC
            connection.sendall(fragment(command, store_command("1.2.3")) + fragment(data, bytes(100_000)) * 3)
            if ending == "abort":
                connection.sendall(struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0))
            elif ending == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: threads() == [])
    assert list((listening.spool.root / "tmp").iterdir()) == []
    assert healthy(listening)
    assert len(listening.kept()) == 1


def test_a_command_that_never_ends_is_aborted(listening):
    item = struct.pack(">IBB", 50_002, 1, 1) + bytes(50_000)  # of the command, and not its last fragment
    with socket.create_connection(("127.0.0.1", listening.port), 5) as connection:
        connection.settimeout(10)
        connection.sendall(request_pdu())
        assert connection.recv(1 << 16)[0] == 2  # A-ASSOCIATE-AC
        connection.sendall((struct.pack(">BBI", 4, 0, len(item)) + item) * 2)
        assert connection.recv(1 << 16)[0] == 7  # A-ABORT
    assert healthy(listening)


def store_command(sop_instance_uid):
    """An encoded C-STORE-RQ command set (PS3.7 section 9.3.1.1)."""
    command = Dataset()
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = DX, sop_instance_uid
    command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 1, 0, 1
    return encode(command, IMPLICIT)


def test_a_message_longer_than_allowed_is_aborted(tmp_path):
    running = listen(tmp_path / "spool", max_instance_bytes=1 << 20)
    try:
        association = associate(running.port)
        assert send_bytes(association, bytes(4 << 20), "1.2.3") is None
        assert eventually(lambda: association.is_aborted)
        assert healthy(running)
        assert len(running.kept()) == 1
    finally:
        running.server.stop(1)


@pytest.mark.parametrize(
    ("encoded", "why"),
    [
        (b"\0", "one byte"),
        (struct.pack("<HH2sHI", 8, 0, b"UL", 4, 0xFFFFFFFF), "a group length that lies, and nothing else"),
        (bytes(1000), "zeros"),
    ],
)
def test_a_data_set_that_is_none_is_refused_and_the_association_goes_on(listening, encoded, why):
    association = associate(listening.port)
    assert send_bytes(association, encoded, "1.2.3") == 0xA900
    assert send(association, dx()) == 0
    association.release()


def test_a_group_length_that_lies_is_ignored(listening):
    data_set = dx()
    association = associate(listening.port)
    lying = struct.pack("<HH2sHI", 8, 0, b"UL", 4, 0xFFFFFFFF) + encode(data_set)
    assert send_bytes(association, lying, data_set.SOPInstanceUID) == 0
    assert listening.kept()[data_set.SOPInstanceUID] == lying
    association.release()


def test_a_store_request_without_data_set_is_refused(listening):
    association = associate(listening.port)
    request = C_STORE()
    request.MessageID, request.Priority = 7, 0
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = DX, "1.2.3"
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, 1)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert (answer.Status, answer.MessageIDBeingRespondedTo) == (0xA900, 7)
    assert send(association, dx()) == 0
    association.release()


def test_a_sop_class_that_is_not_the_contexts_is_refused(listening):
    association = associate(listening.port)
    data_set = dx()
    status = send_bytes(association, encode(data_set), data_set.SOPInstanceUID, "1.2.840.10008.5.1.4.1.1.2")
    assert status == 0x0122
    assert send(association, dx()) == 0
    association.release()


@pytest.mark.parametrize(
    ("sop_class", "accepted"),
    [
        ("1.2.3.4.5", False),
        ("1.2.840.10008.1.20.1", False),
        ("1.2.840.10008.5.1.4.1.2.2.1", False),
        ("1.2.840.10008.5.1.4.1.1.12.3", True),  # retired storage
        ("1.2.840.10008.5.1.4.1.1.88.22", True),
    ],
)
def test_storage_is_accepted_and_what_is_unknown_is_refused(listening, sop_class, accepted):
    association = associate(listening.port, sop_class)
    assert association.is_established is accepted
    if accepted:
        data_set = dx(SOPClassUID=sop_class)
        assert send_bytes(association, encode(data_set), data_set.SOPInstanceUID, sop_class) == 0
        association.release()


def test_requests_that_do_not_wait_for_answers_do_not_pile_up(tmp_path):
    waiting = threading.Event()

    def receive(encoded, **_):
        waiting.wait(5)
        raise RuntimeError

    running = listen(tmp_path / "spool", receive=receive)
    try:
        association = associate(running.port)
        for number in range(30):
            request = C_STORE()
            request.MessageID, request.Priority = number + 1, 0
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = DX, "1.2.3"
            request.DataSet = BytesIO(b"x" * 1000)
            association.dimse.send_msg(request, 1)
        assert eventually(lambda: association.is_aborted)
    finally:
        waiting.set()
        running.server.stop(1)


class TestStopping:
    def test_a_transfer_in_flight_is_finished_and_an_idle_peer_is_not_waited_for(self, tmp_path):
        entered, proceed = threading.Event(), threading.Event()
        running = listen(tmp_path / "spool")
        keep = running.server._receive

        def slow(encoded, **request):
            entered.set()
            proceed.wait(5)
            return keep(encoded, **request)

        running.server._receive = slow
        idle, busy, statuses = associate(running.port), associate(running.port), []
        sender = threading.Thread(target=lambda: statuses.append(send(busy, dx())))
        sender.start()
        assert entered.wait(5)
        stopping = threading.Thread(target=lambda: statuses.append(running.server.stop(5)))
        stopping.start()
        assert eventually(lambda: not idle.is_established)
        assert statuses == []
        proceed.set()
        sender.join()
        stopping.join()
        assert sorted(statuses) == [0, True]
        assert len(running.kept()) == 1
        assert threads() == []

    def test_what_does_not_end_in_time_is_aborted(self, tmp_path):
        release = threading.Event()
        running = listen(tmp_path / "spool", receive=lambda *_, **__: release.wait(10))
        association = associate(running.port)
        sender = threading.Thread(target=send, args=(association, dx()))
        sender.start()
        time.sleep(0.3)
        started = time.monotonic()
        assert running.server.stop(0.5) is False
        assert time.monotonic() - started < 4
        release.set()
        sender.join()
        assert eventually(lambda: threads() == [])

    def test_the_port_is_free_at_once_and_can_be_listened_on_again(self, tmp_path):
        running = listen(tmp_path / "spool")
        port = running.port
        assert healthy(running)
        running.server.stop(1)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port), 1)
        again = listen(tmp_path / "spool", port=port)
        assert healthy(again)
        again.server.stop(1)

    def test_a_port_that_is_taken_is_a_configuration_error(self, listening, tmp_path):
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            listen(tmp_path / "other", port=listening.port)


@pytest.mark.shared
def test_every_fuzz_file_is_answered_and_the_listener_goes_on(listening):
    unanswered = {}
    files = sorted(shared_data("fuzz").rglob("*.dcm"))
    for file in files:
        try:
            meta = dcmread(file, stop_before_pixels=True, force=True).file_meta
            association = associate(listening.port, str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        except Exception:  # noqa: BLE001, S112 - what pydicom cannot read or pynetdicom not propose is not sent
            continue
        if not association.is_established:
            continue
        try:
            status = association.send_c_store(file).get("Status")
        except Exception:  # noqa: BLE001 - nor what they cannot write
            association.abort()
            continue
        if status is None:
            unanswered[file.name] = "no status"
        association.release()
    assert unanswered == {}
    assert len(listening.kept()) > 5
    assert healthy(listening)


def test_a_status_is_a_data_set_that_pynetdicom_takes():
    status = _status(0xA900, "ünïcode\\and more than sixty-four characters, which is what an LO may have")
    assert isinstance(status, Dataset)
    assert len(status.ErrorComment) == 64
    assert status.ErrorComment.isascii()
    assert "\\" not in status.ErrorComment
