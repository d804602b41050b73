"""C-STORE and C-ECHO from dcmtk, as PACS and modalities send."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_dataset, read_preamble
from support.associations import eventually
from support.data import shared_data
from support.instances import dx, write_part10
from support.listener import listen
from support.programs import require_program

from triage_agent.domain.errors import StorageExhaustedError, WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction

pytestmark = pytest.mark.external

# storescu's option for proposing each transfer syntax next to the uncompressed ones.
_PROPOSE = {
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2.1.99": "-xd",
}


@pytest.fixture
def listening(tmp_path):
    running = listen(tmp_path / "spool")
    yield running
    running.server.stop(1)


def call(program, port, *arguments, calling="PACS", called="TRIAGE"):
    command = [require_program(f"/usr/bin/{program}"), "-v", "-to", "10", "-aet", calling, "-aec", called]
    return subprocess.run(
        [*command, *arguments, "127.0.0.1", str(port)] if program == "echoscu" else
        [*command, *arguments[:-1], "127.0.0.1", str(port), *arguments[-1]],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def store(port, *files, options=(), **who):
    return call("storescu", port, *options, [str(file) for file in files], **who)


def data_set_of(file):
    """A file's data set as its bytes are."""
    with Path(file).open("rb") as opened:
        read_preamble(opened, force=False)
        read_dataset(opened, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
        return opened.read()


def written(folder, *data_sets):
    return [write_part10(folder / f"{number}.dcm", data_set) for number, data_set in enumerate(data_sets)]


def test_echo_is_answered(listening):
    assert call("echoscu", listening.port).returncode == 0


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        ({"calling": "NOBODY"}, "Calling AE Title Not Recognized"),
        ({"calling": "FAR"}, "Calling AE Title Not Recognized"),  # a known title from another address
        ({"called": "WRONG"}, "Called AE Title Not Recognized"),
        ({"calling": "NOBODY", "called": "WRONG"}, "Calling AE Title Not Recognized"),
    ],
)
def test_who_is_unknown_is_rejected_and_audited(listening, who, reason):
    answer = call("echoscu", listening.port, **who)
    assert answer.returncode != 0
    assert reason in answer.stderr
    assert "Rejected Permanent, Source: Service User" in answer.stderr
    assert eventually(lambda: listening.audit)  # it is written once the peer has its answer
    (event,) = listening.audit
    assert (event.action, event.actor) == (AuditAction.ASSOCIATION_REJECTED, who.get("calling", "PACS"))
    assert event.detail["address"] == "127.0.0.1"
    assert event.detail["reason"].lower() == reason.lower()


def test_a_stranger_who_knocks_all_day_does_not_fill_the_audit_trail(listening):
    for _ in range(15):
        call("echoscu", listening.port, calling="NOBODY")
    assert eventually(lambda: len(listening.audit) == 10)


def test_who_may_not_store_has_its_storage_contexts_refused(listening, tmp_path):
    assert call("echoscu", listening.port, calling="RIS").returncode == 0
    answer = store(listening.port, *written(tmp_path, dx()), calling="RIS")
    assert "No Acceptable Presentation Contexts" in answer.stderr
    assert listening.kept() == {}


def test_where_strangers_are_accepted_they_may_store(tmp_path):
    running = listen(tmp_path / "spool", accept_unknown=True)
    try:
        assert store(running.port, *written(tmp_path, dx()), calling="STRANGER").returncode == 0
        assert len(running.kept()) == 1
    finally:
        running.server.stop(1)


def test_a_study_is_kept_and_on_the_worklist(listening, tmp_path):
    study = dx().StudyInstanceUID
    answer = store(listening.port, *written(tmp_path, *(dx(StudyInstanceUID=study) for _ in range(3))))
    assert answer.returncode == 0, answer.stderr
    (item,) = listening.worklist.items()
    assert (item.study_instance_uid, item.instances, item.patient_name) == (study, 3, "Doe^Jane")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StorageExhaustedError("less than 10 % of the spool's disk would be free"), "0xa700"),
        (WorklistUnavailableError("database is locked"), "0xa700"),
        (RuntimeError("a bug"), "0xc000"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_the_next_one_is_taken(tmp_path, error, status):
    failing = [error]
    running = listen(tmp_path / "spool")
    keep = running.server._receive

    def receive(encoded, **request):
        if failing:
            raise failing.pop()
        return keep(encoded, **request)

    running.server._receive = receive
    try:
        answer = store(running.port, *written(tmp_path, dx(), dx()), options=["-nh", "-d"])
        assert status in answer.stderr.lower()
        assert len(running.kept()) == 1
    finally:
        running.server.stop(1)


def test_a_data_set_without_a_study_is_refused_with_a_comment(listening, tmp_path):
    (file,) = written(tmp_path, dx(StudyInstanceUID=None))
    answer = store(listening.port, file, options=["-d"])
    assert "0xa900" in answer.stderr.lower()
    assert "Study Instance UID is missing" in answer.stderr
    assert listening.kept() == {}


@pytest.mark.parametrize(("warn", "status"), [(False, "Success"), (True, "b000")])
def test_other_bytes_under_a_known_uid_are_answered_as_the_site_asks(tmp_path, warn, status):
    running = listen(tmp_path / "spool", warn_on_conflict=warn)
    data_set = dx()
    try:
        store(running.port, *written(tmp_path, data_set))
        first = running.kept()
        data_set.PatientID = "P2"
        answer = store(running.port, *written(tmp_path, data_set), options=["-d"])
        assert status in answer.stderr.lower() or status in answer.stderr
        assert running.kept() == first
    finally:
        running.server.stop(1)


@pytest.mark.shared
def test_every_coding_is_kept_byte_for_byte_as_it_was_sent(listening, free_port, tmp_path):
    by_syntax = {}
    for file in sorted(shared_data("dicom", "wg04").rglob("*")):
        if file.is_file() and is_part10(file):
            syntax = str(dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID)
            by_syntax.setdefault(syntax, []).append(file)
    assert len(by_syntax) == 8
    first = {}
    for syntax, files in by_syntax.items():
        received = tmp_path / syntax
        with preserving_peer(received, free_port):
            for port in (listening.port, free_port):
                answer = store(port, *files, options=["-R", _PROPOSE[syntax]] if syntax in _PROPOSE else ["-R"])
                assert answer.returncode == 0, answer.stderr
        for sent in received.iterdir():
            data_set = dcmread(sent, stop_before_pixels=True)
            assert data_set.file_meta.TransferSyntaxUID == syntax
            first.setdefault(str(data_set.SOPInstanceUID), data_set_of(sent))
    assert listening.kept() == first


@pytest.mark.shared
def test_every_character_set_is_decoded(listening):
    names = {}
    for file in sorted(shared_data("dicom", "charset").glob("*.dcm")):
        data_set = dcmread(file)
        if "SOPInstanceUID" not in data_set or data_set.file_meta.MediaStorageSOPInstanceUID != data_set.SOPInstanceUID:
            continue
        assert store(listening.port, file).returncode == 0
        names[str(data_set.StudyInstanceUID)] = str(data_set.PatientName)
    found = {item.study_instance_uid: item.patient_name for item in listening.worklist.items()}
    assert found.keys() == names.keys()
    assert len(names) >= 3
    assert "\ufffd" not in "".join(found.values())


def is_part10(file):
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


@contextlib.contextmanager
def preserving_peer(folder, port):
    """dcmtk's own receiver, which writes exactly what came over the wire."""
    folder.mkdir()
    command = [require_program("/usr/bin/storescp"), "--bit-preserving", "+xa", "-od", str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as peer:
        try:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and call("echoscu", port).returncode != 0:
                time.sleep(0.1)
            yield
        finally:
            peer.terminate()
