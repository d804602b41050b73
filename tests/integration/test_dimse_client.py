"""The client against dcmtk, against our own listener, and against peers that misbehave."""

import itertools
import socket
import subprocess
import threading
import time

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import evt
from support.associations import PATIENCE
from support.callees import Accepting, client, scp, until_it_answers
from support.instances import BIG_ENDIAN, DX, EXPLICIT, IMPLICIT, dx, encode, write_part10
from support.listener import listen
from support.programs import require_program

from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.peers import Peer
from triage_agent.domain.errors import DeliveryError

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"


@pytest.fixture
def listening(tmp_path):
    running = listen(tmp_path / "spool")
    yield running
    running.server.stop(1)


def test_echo(listening):
    assert client(listening.port).echo() == f"TRIAGE@127.0.0.1:{listening.port} answers C-ECHO"


def test_a_peer_that_takes_questions_is_told_from_one_that_does_not():
    with scp([(evt.EVT_C_FIND, lambda _event: iter([(0x0000, None)]))], [(STUDY_ROOT, IMPLICIT)]) as port:
        assert "takes C-FIND" in client(port, "PEER").check_find()
    refusing = scp([(evt.EVT_C_FIND, lambda _event: iter([(0xA900, None)]))], [(STUDY_ROOT, IMPLICIT)])
    with refusing as port, pytest.raises(DeliveryError, match="C-FIND answered 0xA900; the PACS must allow C-FIND"):
        client(port, "PEER").check_find()
    with scp() as port, pytest.raises(DeliveryError, match=r"C-FIND is not accepted; .* from our AE title PACS"):
        client(port, "PEER").check_find()


def test_whom_nobody_answers_is_not_told_to_allow_questions(free_port):
    with pytest.raises(DeliveryError, match="no connection; check that the peer is running"):
        client(free_port).check_find()


@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, IMPLICIT, BIG_ENDIAN, "1.2.840.10008.1.2.4.70"])
def test_an_object_is_sent_as_it_is_encoded(listening, tmp_path, transfer_syntax_uid):
    data_set = dx()
    sending = client(listening.port)
    file = write_part10(tmp_path / "sent.dcm", data_set, transfer_syntax_uid)
    sending.store(file)
    sending.store(file.read_bytes())
    sending.close()
    assert listening.kept() == {data_set.SOPInstanceUID: encode(data_set, transfer_syntax_uid)}


def test_objects_share_an_association_until_it_is_idle_for_long(part10):
    peer = Accepting()
    with scp(peer.handlers()) as port:
        sending = client(port, idle_seconds=0.5)
        for _ in range(3):
            sending.store(part10)
        assert peer.associations == 1
        kept = sending._kept
        deadline = time.monotonic() + PATIENCE
        while kept.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert kept.is_released
        sending.store(part10)
        assert peer.associations == 2
        sending.close()


def test_an_object_of_another_kind_makes_an_association_that_takes_both(tmp_path):
    peer, other = Accepting(), "1.2.840.10008.5.1.4.1.1.88.22"
    files = [write_part10(tmp_path / f"{uid}.dcm", dx(SOPClassUID=uid)) for uid in (DX, other)]
    with scp(peer.handlers(), [(DX, EXPLICIT), (other, EXPLICIT)]) as port:
        sending = client(port)
        for _ in range(2):
            for file in files:
                sending.store(file)
        assert peer.associations == 2
        sending.close()


def test_a_peer_that_takes_only_the_default_transfer_syntax_gets_that(part10):
    peer = Accepting()
    with scp(peer.handlers(), [(DX, IMPLICIT)]) as port:
        sending = client(port)
        sending.store(part10)
        sending.close()
    ((transfer_syntax, encoded),) = peer.kept
    assert transfer_syntax == IMPLICIT
    assert encoded == encode(dcmread(part10), IMPLICIT)


def test_a_peer_that_went_away_and_came_back_is_sent_to_on_a_new_association(part10):
    peer = Accepting()
    with scp(peer.handlers()) as port:
        sending = client(port)
        sending.store(part10)
        sending._kept.dul.socket.socket.shutdown(socket.SHUT_RDWR)
        sending.store(part10)
        sending.close()
    assert (peer.associations, len(peer.kept)) == (2, 2)


@pytest.mark.parametrize("status", [0x0000, 0x0111, 0xB000, 0xB007])
def test_what_was_kept_is_accepted(part10, status):
    with scp(Accepting(status).handlers()) as port:
        sending = client(port)
        sending.store(part10)
        sending.close()


@pytest.mark.parametrize(
    ("status", "permanent"), [(0xA700, False), (0x0124, False), (0xA900, True), (0xC001, True), (0x0122, True)]
)
def test_what_was_refused_says_whether_to_try_again(part10, status, permanent):
    peer = Accepting(status)
    with scp(peer.handlers()) as port:
        sending = client(port)
        with pytest.raises(DeliveryError, match=f"0x{status:04X}") as raised:
            sending.store(part10)
        sending.store(part10)
        sending.close()
    assert raised.value.permanent is permanent
    assert peer.associations == 1


def test_a_sop_class_that_the_peer_does_not_take_is_refused_for_good(part10):
    with scp(contexts=[("1.2.840.10008.1.1", IMPLICIT)]) as port:
        for _ in range(2):
            with pytest.raises(DeliveryError) as raised:
                client(port).store(part10)
            assert raised.value.permanent


def test_a_sop_class_that_a_kept_association_does_not_take_is_refused_for_good_and_the_others_go_on(part10, tmp_path):
    other = write_part10(tmp_path / "other.dcm", dx(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22"))
    peer = Accepting()
    with scp(peer.handlers()) as port:
        sending = client(port)
        sending.store(part10)
        for _ in range(2):
            with pytest.raises(DeliveryError) as raised:
                sending.store(other)
            assert raised.value.permanent
            sending.store(part10)
        sending.close()
    assert peer.associations == 2


def test_an_unknown_ae_title_is_tried_again_since_it_will_be_mended(listening, part10):
    for who in ({"calling": "NOBODY"}, {"ae_title": "WRONG"}):
        with pytest.raises(DeliveryError, match="rejected") as raised:
            client(listening.port, **who).store(part10)
        assert not raised.value.permanent


def test_nobody_there_is_tried_again(free_port, part10):
    with pytest.raises(DeliveryError, match="no connection") as raised:
        client(free_port).store(part10)
    assert not raised.value.permanent
    with pytest.raises(DeliveryError, match="no connection"):
        client(free_port).echo()


def test_a_host_that_has_no_address_is_tried_again(part10):
    peer = Peer(name="peer", ae_title="PEER", host="no-such-host.invalid", port=104, may=frozenset())
    with pytest.raises(DeliveryError, match="not known") as raised:
        DicomClient(peer, calling_ae_title="TRIAGE").store(part10)
    assert not raised.value.permanent


@pytest.mark.parametrize("body", [b"", b"x" * 200, b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\2\0"])
def test_what_is_no_part_10_file_is_refused_for_good(free_port, body):
    with pytest.raises(DeliveryError, match="not a Part 10 file") as raised:
        client(free_port).store(body)
    assert raised.value.permanent


def test_many_threads_share_a_client(part10):
    peer = Accepting()
    with scp(peer.handlers()) as port:
        sending = client(port)
        threads = [threading.Thread(target=sending.store, args=[part10]) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sending.close()
    assert (len(peer.kept), peer.associations) == (12, 1)


class TestCounting:
    def ask(self, answers, contexts=((STUDY_ROOT, IMPLICIT),)):
        asked = []

        def on_find(event):
            asked.append(event.identifier)
            for status, number in answers:
                match = Dataset()
                match.StudyInstanceUID = "1.2.3"
                if number is not None:
                    match.NumberOfStudyRelatedInstances = number
                yield status, match if status == 0xFF00 else None

        with scp([(evt.EVT_C_FIND, on_find)], contexts) as port:
            return client(port).count_instances("1.2.3"), asked

    def test_the_number_of_the_study_is_asked_for_and_believed(self):
        number, (question,) = self.ask([(0xFF00, 7)])
        assert number == 7
        assert (question.QueryRetrieveLevel, question.StudyInstanceUID) == ("STUDY", "1.2.3")
        assert "NumberOfStudyRelatedInstances" in question

    @pytest.mark.parametrize(
        "answers",
        [[], [(0xFF00, None)], [(0xFF00, "")], [(0xA700, None)], [(0xC001, None)], [(0xFF00, 3), (0xA700, None)]],
    )
    def test_a_peer_that_does_not_say_is_not_believed(self, answers):
        assert self.ask(answers)[0] is None

    def test_a_peer_whose_answers_have_no_end_is_not_listened_to(self):
        started = time.monotonic()
        assert self.ask(itertools.repeat((0xFF00, 7)))[0] is None
        assert time.monotonic() - started < PATIENCE / 2

    def test_a_peer_that_takes_no_questions_does_not_say(self, free_port):
        assert self.ask([], [("1.2.840.10008.1.1", IMPLICIT)])[0] is None
        assert client(free_port).count_instances("1.2.3") is None


@pytest.mark.external
@pytest.mark.parametrize("options", [[], ["+xi"], ["+xe"], ["-pdu", "4096"]])
def test_dcmtk_keeps_what_is_sent(tmp_path, free_port, options):
    data_set = dx()
    file = write_part10(tmp_path / "sent.dcm", data_set)
    received = tmp_path / "received"
    received.mkdir()
    command = [require_program("/usr/bin/storescp"), "-od", str(received), *options, str(free_port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as peer:
        try:
            sending = client(free_port, ae_title="STORESCP")
            until_it_answers(sending)
            for _ in range(2):
                sending.store(file)
            sending.close()
        finally:
            peer.terminate()
    (kept,) = received.iterdir()
    assert dcmread(kept).PatientID == "P1"
    assert dcmread(kept).SOPInstanceUID == data_set.SOPInstanceUID
