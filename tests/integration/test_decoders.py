"""Files are read in processes that a file may crash, exhaust or hang: it costs that file, and nothing else."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import structlog
from support import failing_decoder
from support.data import shared_data
from support.odd_files import BOMBS, radiograph

from triage_agent.domain.errors import DecoderUnavailableError, TriageError, UnreadableImageError
from triage_agent.imaging.isolated.pool import Decoders, Limits
from triage_agent.imaging.load import Displayable, Skipped, load_for_scoring, read_headers

FAILING = (sys.executable, str(Path(failing_decoder.__file__)))
ROOMY = Limits(seconds=60, memory_mb=2048)
TIGHT = Limits(seconds=1, memory_mb=1024)


@pytest.fixture(scope="module")
def decoders():
    with Decoders(ROOMY) as running:
        yield running


@pytest.fixture(scope="module")
def asked_for_headers():
    """As `decoders`, which loads no image first."""
    with Decoders(ROOMY) as running:
        yield running


@pytest.fixture
def failing():
    with Decoders(TIGHT, program=FAILING) as running:
        yield running


@pytest.fixture
def knee(tmp_path):
    return radiograph(tmp_path / "knee.dcm")


def fault(tmp_path, word):
    path = tmp_path / f"{word}.dcm"
    path.write_bytes(word.encode())
    return path


def said(read, path):
    """What reading gives, or why it gives nothing."""
    try:
        return read(path)
    except UnreadableImageError as error:
        return error.message


def gone(pid):
    """Whether a process has ended, within a generous time."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_an_image_comes_back_as_it_is_read_here_and_is_the_callers_own(decoders, knee):
    loaded, direct = decoders.load(knee), load_for_scoring(knee)
    assert np.array_equal(loaded.image, direct.image)
    assert (loaded.region, loaded.laterality, loaded.facts) == (direct.region, direct.laterality, direct.facts)
    before = loaded.image.copy()
    decoders.load(knee).image[:] = 0  # the next one's pixels lie elsewhere
    assert np.array_equal(loaded.image, before)


def test_the_square_that_a_model_samples_comes_back_in_place_of_the_whole(decoders, knee):
    square = decoders.load(knee, side=56)
    assert square.image.shape == (56, 56)
    assert np.array_equal(square.image, load_for_scoring(knee, side=56).image)
    assert square.facts == decoders.load(knee).facts  # which tell of the file


def test_a_large_image_follows_a_small_one_and_a_small_one_a_large_one(decoders, knee, tmp_path):
    large = radiograph(tmp_path / "large.dcm", rows=4200, columns=4200)  # beyond what is kept of shared memory
    for path in (knee, large, knee, large):
        assert np.array_equal(decoders.load(path).image, load_for_scoring(path).image)


def test_a_header_comes_back_as_it_is_read_here(decoders, tmp_path):
    path = radiograph(
        tmp_path / "odd.dcm",
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        OtherPatientNames=["Doe^Jane", "Roe^Jane"],
        PixelSpacing=["0.10", "0.2"],
        InstanceNumber="007",
        FrameIncrementPointer=0x00181063,
        OtherPatientIDsSequence=[],
    )
    there, here = decoders.header(path), read_headers(path)
    assert str(there) == str(here)
    assert str(there.file_meta) == str(here.file_meta)
    assert (there.PatientName.ideographic, there.PatientName.phonetic) == ("山田^太郎", "やまだ^たろう")


def test_the_header_of_a_file_that_was_loaded_is_there_without_a_question(knee, tmp_path):
    chest = radiograph(tmp_path / "chest.dcm", BodyPartExamined="CHEST")
    with Decoders(ROOMY) as asked:
        for path in (knee, chest):
            asked.load(path)
    for path in (knee, chest):  # its processes have ended
        assert str(asked.header(path)) == str(read_headers(path))
        assert str(asked.header(path).file_meta) == str(read_headers(path).file_meta)
    with pytest.raises(DecoderUnavailableError):
        asked.header(radiograph(tmp_path / "other.dcm"))


def test_a_file_that_was_replaced_or_rewritten_since_gives_the_header_that_it_has_now(decoders, tmp_path):
    path = radiograph(tmp_path / "knee.dcm", PatientName="Doe^Jane")
    decoders.load(path)
    radiograph(tmp_path / "new.dcm", PatientName="Roe^Joan").replace(path)
    assert decoders.header(path).PatientName == "Roe^Joan"
    decoders.load(path)
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Roe^Joan", b"Poe^Joan"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decoders.header(path).PatientName == "Poe^Joan"
    path.unlink()
    assert said(decoders.header, path) == said(read_headers, path)


def test_a_large_header_does_not_come_along_and_is_asked_for(decoders, tmp_path):
    comments = {"ImageComments": "x" * 10_000, "PatientComments": "x" * 10_000}
    path = radiograph(tmp_path / "large.dcm", **comments, OtherPatientNames=["Doe^Jane" * 7] * 900)
    with Decoders(ROOMY) as ended:
        assert isinstance(ended.load(path), Displayable)
    with pytest.raises(DecoderUnavailableError):
        ended.header(path)
    decoders.load(path)
    assert str(decoders.header(path)) == str(read_headers(path))


def test_a_file_that_is_replaced_while_it_is_read_gives_the_header_of_the_new_one(tmp_path, monkeypatch):
    path = radiograph(tmp_path / "knee.dcm", PatientName="Doe^Jane")
    with Decoders(ROOMY) as running:
        ask = running._ask_once

        def replaced_meanwhile(body):
            answer = ask(body)
            radiograph(tmp_path / "new.dcm", PatientName="Roe^Joan").replace(path)
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(running, "_ask_once", replaced_meanwhile)
            running.load(path)
        assert running.header(path).PatientName == "Roe^Joan"


@pytest.mark.parametrize("beside", [b"{", b"[]", b"{" + b" " * (1 << 17)])
def test_a_decoder_that_sends_nonsense_for_a_header_is_asked_again_and_fills_no_memory(beside, tmp_path, monkeypatch):
    path = radiograph(tmp_path / "knee.dcm")
    with Decoders(ROOMY) as running:
        ask = running._ask_once

        def taken_over(body):
            answer, image = ask(body)
            return answer._replace(body=answer.body.partition(b"\n")[0] + b"\n" + beside), image

        with monkeypatch.context() as patch:
            patch.setattr(running, "_ask_once", taken_over)
            assert isinstance(running.load(path), Displayable)
        assert sum(len(header) for _, header in running._headers._kept.values()) <= 1 << 16
        assert str(running.header(path)) == str(read_headers(path))


def test_what_is_not_to_be_scored_or_cannot_be_says_so_in_the_same_words(decoders, tmp_path):
    chest = radiograph(tmp_path / "chest.dcm", BodyPartExamined="CHEST")
    assert isinstance(decoders.load(chest), Skipped)
    assert decoders.load(chest) == load_for_scoring(chest)
    no_dicom = fault(tmp_path, "text")
    for read, same in ((decoders.load, load_for_scoring), (decoders.header, read_headers)):
        assert said(read, no_dicom) == said(same, no_dicom)
        assert said(read, tmp_path / "absent") == said(same, tmp_path / "absent")


@pytest.mark.shared
def test_every_real_and_every_hostile_file_reads_as_it_does_here(decoders, asked_for_headers):
    differing = []
    for path in sorted(one for part in ("dicom", "fuzz") for one in shared_data(part).rglob("*") if one.is_file()):
        here, there = said(load_for_scoring, path), said(decoders.load, path)
        if isinstance(here, Displayable):
            same = np.array_equal(here.image, there.image) and here.facts == there.facts
        else:
            same = here == there
        here, there, kept = (
            str(said(read, path)).replace("''", "").replace(" \n", "\n")
            for read in (read_headers, asked_for_headers.header, decoders.header)
        )
        if not same or not here.split() == there.split() == kept.split():
            differing.append(path.name)
    assert differing == []


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("SEGV", "reading it crashed the decoder (SIGSEGV)"),
        ("ABRT", "reading it crashed the decoder (SIGABRT)"),
        ("KILL", "reading it was ended by the system, as when memory runs out"),
        ("EXIT", "reading it ended the decoder process (exit status 3)"),
        ("SLEEP", "reading it took longer than 1 s"),
        ("SPIN", "reading it took longer than 1 s"),
        ("MEMORY", "reading it needs more than 1024 MB of memory (worker.decode_memory_mb)"),
        ("SHOUT", "the image could not be read (ValueError)"),
        ("NONSENSE", "reading it failed: the decoder process speaks nonsense"),
    ],
)
def test_a_file_that_takes_its_reader_down_has_a_reason_and_the_next_one_is_read(failing, knee, tmp_path, word, reason):
    path = fault(tmp_path, word)
    assert said(failing.load, path) == reason
    assert said(failing.header, path) == reason
    assert isinstance(failing.load(knee), Displayable)
    assert len(failing.pids) == 1


def test_a_reader_that_somebody_else_kills_once_is_replaced_and_the_file_read_again(failing, tmp_path):
    path = fault(tmp_path, "ONCE")
    assert said(failing.load, path) == said(load_for_scoring, path)
    assert "DICM" in said(failing.load, path)


def test_what_decoders_print_is_counted_and_never_repeated(failing, tmp_path, capfd):
    with structlog.testing.capture_logs() as lines:
        said(failing.load, fault(tmp_path, "SHOUT"))
    assert {"event": "decoder_remarks", "lines": 5000, "warnings": 5000, "errors": 5000, "log_level": "info"} in lines
    assert "Doe" not in str(lines) + "".join(capfd.readouterr())


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_within_the_limits(tmp_path, bomb):
    path = BOMBS[bomb](tmp_path / "bomb.dcm")
    with Decoders(Limits(seconds=8, memory_mb=512)) as decoders:
        reason = said(decoders.load, path)
        assert isinstance(reason, str), f"{bomb} was read"
        assert len(reason) < 200
        said(decoders.header, path)
        peaks = [Path(f"/proc/{pid}/status").read_text().partition("VmPeak:")[2].split()[0] for pid in decoders.pids]
    assert all(int(peak) <= 512 << 10 for peak in peaks)


def test_a_reader_has_no_torch_no_secret_no_core_dump_and_ignores_the_terminal(decoders, knee, monkeypatch):
    monkeypatch.setenv("TRIAGE_AGENT__DATABASE__URL", "postgresql://triage:hunter2@db/triage")
    with Decoders(ROOMY) as fresh:
        fresh.load(knee)
        (pid,) = fresh.pids
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "torch" not in Path(f"/proc/{pid}/maps").read_text()
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        assert os.getsid(pid) == pid
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert isinstance(fresh.load(knee), Displayable)
        assert fresh.pids == [pid]
    assert gone(pid)


_PARENT = """
import sys, threading, time
from pathlib import Path
from triage_agent.imaging.isolated.pool import Decoders, Limits
decoders = Decoders(Limits(60, 1024), most=2, program=sys.argv[1:3])
decoders.load(Path(sys.argv[3]))
threading.Thread(target=decoders.load, args=(Path(sys.argv[4]),), daemon=True).start()
while len(decoders.pids) < 1: time.sleep(0.01)
decoders.load(Path(sys.argv[3]))
print(*decoders.pids, flush=True)
time.sleep(600)
"""


def test_a_killed_agent_leaves_no_reader_behind_not_even_a_busy_one(knee, tmp_path):
    command = [sys.executable, "-c", _PARENT, *FAILING, knee, fault(tmp_path, "SPIN")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_readers_work_side_by_side_and_no_more_than_asked_for(knee):
    with Decoders(ROOMY, most=2) as decoders:
        outcomes = []
        threads = [threading.Thread(target=lambda: outcomes.append(decoders.load(knee))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(outcomes) == 6
        assert len(decoders.pids) <= 2


def test_whoever_waits_when_the_agent_stops_is_told_that_it_was_not_the_file(tmp_path):
    path, outcomes = fault(tmp_path, "SLEEP"), []

    def read(decoders):
        try:
            decoders.load(path)
        except TriageError as error:
            outcomes.append(error)

    with Decoders(ROOMY, program=FAILING) as decoders:
        decoders.header(radiograph(tmp_path / "first.dcm"))
        reader = threading.Thread(target=read, args=(decoders,))
        reader.start()
        time.sleep(0.2)
    reader.join(30)
    assert [type(error) for error in outcomes] == [DecoderUnavailableError]
    with pytest.raises(DecoderUnavailableError):
        decoders.load(path)


@pytest.mark.parametrize("program", [("/bin/false",), ("/nonexistent",)])
def test_readers_that_cannot_be_started_are_no_files_fault(knee, program):
    with (
        Decoders(ROOMY, program=program) as decoders,
        pytest.raises(DecoderUnavailableError, match="no decoder process"),
    ):
        decoders.load(knee)
