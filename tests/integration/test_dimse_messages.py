"""What broken, endless and half-sent messages do to the listener: they are answered or cut off, and harm nobody."""

import socket
import struct
import threading
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE
from support.associations import PATIENCE, associate, eventually, healthy, request_pdu, send, send_bytes, threads
from support.data import shared_data
from support.instances import DX, EXPLICIT, IMPLICIT, dx, encode
from support.listener import listen

from triage_agent.dimse.server import _status


@pytest.mark.parametrize("ending", ["abort", "close", "reset"])
def test_a_sender_that_ends_in_the_middle_leaves_nothing(listening, ending):
    def fragment(kind, value):
        item = struct.pack(">IBB", len(value) + 2, 1, kind) + value
        return struct.pack(">BBI", 4, 0, len(item)) + item

    command, data = 3, 0  # the last of the command, some of the data set (PS3.8 annex E.2)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", listening.port), PATIENCE) as connection:
            connection.settimeout(PATIENCE)
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
    with socket.create_connection(("127.0.0.1", listening.port), PATIENCE) as connection:
        connection.settimeout(PATIENCE)
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
        waiting.wait(2 * PATIENCE)
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
