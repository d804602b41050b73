"""What is fuzzed: each target takes bytes, and raises only where the agent does what it must not."""

import socket
import sys
import tempfile
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from support.associations import request_pdu
from support.hl7 import build, merge, omi
from support.instances import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, dx, encode
from support.listener import RULE, listen
from support.odd_files import nested, radiograph

from triage_agent.delivery.acknowledgement import acknowledge, asks_for, parse_acknowledgement
from triage_agent.domain.errors import InvalidDatasetError, UnreadableImageError
from triage_agent.domain.visible import UNSAFE
from triage_agent.hl7in.desk import Hl7Desk
from triage_agent.hl7in.framing import Framer, TooLongError
from triage_agent.imaging import decode
from triage_agent.imaging.load import load_for_scoring, read_headers
from triage_agent.intake.header import read_header
from triage_agent.intake.receiver import Receiver
from triage_agent.intake.spool import Spool
from triage_agent.worklist.memory import MemoryWorklist

_HANG_SECONDS = 20.0
_SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fuzz"
_LARGEST_SEED = 1 << 16
_SYNTAXES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED)


class WrongError(AssertionError):
    """The agent did what it must not."""


def _own_files(folder):
    """Small radiographs as files, uncompressed and by each codec that can be written here."""
    plain = radiograph(folder / "plain.dcm", rows=64, columns=64)
    files = [plain]
    for syntax in (RLELossless, JPEG2000Lossless, JPEGLSLossless):
        data_set = dcmread(plain)
        data_set.compress(syntax)
        files.append(folder / f"{syntax}.dcm")
        data_set.save_as(files[-1])
    return files


def _shared_files():
    """The hostile files beside the repository, where they are; a public clone has none."""
    return [path for path in sorted(_SHARED.rglob("*.dcm")) if path.stat().st_size <= _LARGEST_SEED]


class Pdu:
    """A peer's bytes on a connection to the listener; even first bytes come after a valid association request."""

    def __init__(self, folder):
        self._raised = []
        threading.excepthook = self._raised.append
        sys.unraisablehook = self._raised.append
        self._request = request_pdu()
        self._listening = listen(folder / "spool", timeout_seconds=2.0, accept_unknown=True)

    def seeds(self):
        """Association requests, echoes and stores, whole and cut."""
        request = self._request
        release = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
        abort = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"
        data = b"\x04\x00\x00\x00\x00\x0c\x00\x00\x00\x08\x01\x03" + bytes(6)
        return [b"\x01" + request, b"\x01" + request[:40], b"\x00" + data, b"\x00" + release, b"\x00" + abort]

    def __call__(self, data):
        """Send, hang up, and expect the other side to hang up too."""
        prefix = self._request if data[:1] and not data[0] % 2 else b""
        with socket.create_connection(("127.0.0.1", self._listening.port), _HANG_SECONDS) as connection:
            with suppress(OSError):  # it hung up before the end
                connection.sendall(prefix + data[1:])
                connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65536):
                    pass
            except TimeoutError:
                raise WrongError("the listener keeps a connection that has ended") from None
            except OSError:
                pass
        if self._raised:
            raise WrongError(f"a thread ended with {self._raised.pop()}")

    def close(self):
        """End the listener."""
        self._listening.server.stop(1)


class Intake:
    """An encoded data set as C-STORE brings it; the first byte chooses its transfer syntax."""

    def __init__(self, folder):
        self._folder, self._count = folder, 0
        self._renew()

    def _renew(self):
        self._worklist = MemoryWorklist()
        self._spool = Spool(self._folder / f"spool{self._count}", low_water_percent=0)
        self._receiver = Receiver(self._spool, self._worklist, RULE, lambda: datetime(2026, 3, 1, tzinfo=UTC))

    def seeds(self):
        """Our own data sets in each encoding, and what the hostile files hold."""
        own = dx(StudyInstanceUID="1.2", SOPInstanceUID="1.3", RequestAttributesSequence=[dx()])
        own.RequestAttributesSequence[0].RequestedProcedurePriority = "STAT"
        found = [bytes([number]) + encode(own, syntax) for number, syntax in enumerate(_SYNTAXES)]
        found += [b"\x00" + encode(own) + nested(50), b"\x01" + nested(3) + encode(own, IMPLICIT)]
        return found + [b"\x00" + path.read_bytes()[132:] for path in _shared_files()]

    def __call__(self, data):
        """A header or a refusal, and the bytes are kept as they came."""
        syntax, encoded = _SYNTAXES[(data[0] if data else 0) % len(_SYNTAXES)], memoryview(data[1:])
        uid = "1.3"
        with suppress(InvalidDatasetError):
            header = read_header(encoded, syntax, "1.2.840.10008.5.1.4.1.1.1.1", uid)
            if any(UNSAFE.search(text) for text in (header.patient_name, header.patient_id, header.modality)):
                raise WrongError("control characters in a header's text")
        self._count += 1
        if self._count % 500 == 0:
            self._renew()
        request = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1", "sop_instance_uid": uid, "source": "FUZZ"}
        with suppress(InvalidDatasetError):
            received = self._receiver.receive(encoded, transfer_syntax_uid=syntax, **request)
            if not (self._spool.root / received.path).resolve().is_relative_to(self._spool.root.resolve()):
                raise WrongError("a file outside the spool")

    def close(self):
        """Nothing is open."""


class Decode:
    """A stored file, read and decoded in this process, where a crash is seen."""

    def __init__(self, folder):
        self._path = folder / "fuzzed.dcm"
        self._folder = folder
        decode.MAX_PIXELS = 1 << 20  # larger ones cost time and teach nothing

    def seeds(self):
        """Small radiographs of ours by codec, and the hostile files."""
        return [path.read_bytes() for path in (*_own_files(self._folder), *_shared_files())]

    def __call__(self, data):
        """An image in [0, 1], a reason to leave it out, or a reason why not; nothing else."""
        self._path.write_bytes(data)
        for read in (read_headers, load_for_scoring):
            try:
                found = read(self._path)
            except UnreadableImageError as error:
                if not error.message.isprintable() or len(error.message) > 400:
                    raise WrongError("a reason that is no line of text") from error
                continue
            image = getattr(found, "image", None)
            if image is not None and not (image.min() >= 0 and image.max() <= 1):
                raise WrongError("an image out of range")

    def close(self):
        """Nothing is open."""


class Acknowledgement:
    """What a RIS answers to an HL7 message."""

    def __init__(self, folder):
        pass

    def seeds(self):
        """Acknowledgements of each kind."""
        head = b"MSH|^~\\&|RIS|H|TRIAGE|H|20260301093000||ACK^R01|1|P|2.5.1\r"
        enhanced = b"MSH|^~\\&|R|H|T|H|20260301||ACK|A7|P|2.5.1|||AL|NE\rMSA|AA|C1\r"
        tails = (b"MSA|AA|C1\r", b"MSA|AE|C1|Doe^Jane\rERR||PID^1|207^x|E\r", b"MSA|AR|C1", b"", b"MSA\rERR\r")
        return [b"\x0b" + enhanced, *(b"\x0b" + head + tail for tail in tails)]

    def __call__(self, data):
        """Words, of which only plain codes are repeated."""
        said = parse_acknowledgement(data)
        if not (said.error_code == "" or (said.error_code.isascii() and said.error_code.isdigit())):
            raise WrongError("free text in place of a code")
        if len(acknowledge(said).split(b"\r")) != len(["MSH", "MSA", ""]):
            raise WrongError("an answer that its answer broke")
        asks_for(data)

    def close(self):
        """Nothing is open."""


class Orders:
    """What a RIS sends to the listener for orders; the first byte says where the stream is cut."""

    def __init__(self, folder):
        self._count = 0
        self._renew()

    def _renew(self):
        self._worklist = MemoryWorklist()
        self._desk = Hl7Desk(self._worklist, lambda: datetime(2026, 3, 1, tzinfo=UTC))

    def seeds(self):
        """Orders, an update and a merge, alone and together, and what is none."""
        pid, update = "PID|||P1^^^ADT^MR||Doe^Jane||19700301|F", build("PID|||P1||Doe", kind="ADT^A08")
        older = build(pid, "ORC|XO|P|F|||^^^20260301^^A", "OBR|1|P|F|^Knee", "ZDS|1.2.3", kind="ORM^O01", version="2.3")
        streams = (omi(), older, merge(), update, omi(charset="~ISO IR87"), b"MSH|^~\\&|", b"PID|1")
        framed = [b"\x0b" + stream + b"\x1c\r" for stream in streams]
        return [bytes([number * 40]) + frame for number, frame in enumerate(framed)] + [b"\x07" + b"".join(framed)]

    def __call__(self, data):
        """Every frame has an answer, and nothing that is kept can do harm where it is shown."""
        cut, framer = (data[0] if data else 0) or 1, Framer(1 << 16)
        with suppress(TooLongError):
            for at in range(1, len(data), cut):
                for frame in framer.feed(data[at : at + cut]):
                    self._answer(frame)
        self._count += 1
        if self._count % 200 == 0:
            self._renew()

    def _answer(self, frame):
        answer = self._desk.answer(frame)
        if answer is not None and b"\rMSA" not in answer:
            raise WrongError("an answer without a verdict")
        if answer is not None and b"Application internal error" in answer:
            raise WrongError("a message made the desk fail")
        if answer is not None and (b"\x0b" in answer or b"\x1c" in answer):
            raise WrongError("an answer that breaks its frame")
        for order in self._worklist.orders(limit=5):
            texts = [value for name in order.__slots__ if isinstance(value := getattr(order, name), str)]
            if any(UNSAFE.search(text) for text in texts):
                raise WrongError("control characters in an order")

    def close(self):
        """Nothing is open."""


TARGETS = {"orders": Orders, "pdu": Pdu, "intake": Intake, "decode": Decode, "hl7": Acknowledgement}


def workplace():
    """A folder in memory where there is one: what is fuzzed writes a file an input."""
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    return tempfile.TemporaryDirectory(prefix="triage-fuzz-", dir=memory if memory.is_dir() else None)
