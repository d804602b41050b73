"""Messages as a RIS sends them, and a RIS that sends them."""

import socket
from pathlib import Path

import hl7

EXAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "hl7" / "dcm4che"

MSH = "MSH|^~\\&|RIS|HOSPITAL|TRIAGE|HOSPITAL|20260301093000||{kind}|{control_id}|P|{version}||||||{charset}"
PID = "PID|||P1^^^ADT^MR~99^^^NATIONAL^NI||Doe^Jane^A^Jr^Dr||19700301|F"
PV1 = "PV1||E|ED^R1^B2^MAIN|||||88^Refer^Rita^^^Dr|||||||||||V77"
ORC = "ORC|NW|PL1|F1||SC||^^^20260301100000^^S"
TQ1 = "TQ1|||||||20260301100500||S^Stat^HL70485"
OBR = "OBR|1|PL1|F1|KNEE2^Knee, two views^99H|||||||||Fell from a ladder|||77^Order^Otto||A1|RP1|S1||||DX"
OBR += "|||^^^20260301100000^^S||||^Pain in the knee~M25.5^Gonalgia^I10"
IPC = "IPC|A1|RP1|1.2.3|S1|DX||Room 1||DX1~DX2"


def omi(*changed, control_id="M1", version="2.5.1", charset="UNICODE UTF-8", kind="OMI^O23^OMI_O23"):
    """A message; each of `changed` takes the place of the segment of its name."""
    segments = {line[:3]: line for line in (PID, PV1, ORC, TQ1, OBR, IPC)}
    segments |= {line[:3]: line for line in changed}
    return build(*segments.values(), kind=kind, control_id=control_id, version=version, charset=charset)


def build(*segments, kind, control_id="M1", version="2.5.1", charset="UNICODE UTF-8", codec="utf-8"):
    head = MSH.format(kind=kind, control_id=control_id, version=version, charset=charset)
    return "".join(f"{line}\r" for line in (head, *segments) if line).encode(codec)


def merge(control_id="M2", pid="PID|||P7^^^ADT^MR||Roe^Jane", mrg="MRG|P1^^^ADT^MR", **header):
    return build(pid, mrg, kind="ADT^A40^ADT_A39", control_id=control_id, **header)


def said(answer):
    """MSA-1, MSA-2 and ERR-3.1 of an answer, read by an independent library."""
    parsed = hl7.parse(answer.decode())
    msa = parsed.segment("MSA")
    errors = [str(err[3][0][0]) for err in parsed if str(err[0]) == "ERR" and len(err) > 3]
    return str(msa[1]), str(msa[2]), (errors or [""])[0]


class Ris:
    """Sends messages on one connection and reads the answers."""

    def __init__(self, port, context=None):
        self.connection = socket.create_connection(("127.0.0.1", port), 60)
        self.connection.settimeout(60)
        if context is not None:
            self.connection = context.wrap_socket(self.connection, server_hostname="localhost")
        self._heard = b""

    def send(self, message):
        self.connection.sendall(b"\x0b" + message + b"\x1c\r")
        return self.hear()

    def hear(self):
        """The next answer; None where the connection ends."""
        while b"\x1c\r" not in self._heard:
            try:
                chunk = self.connection.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                return None
            self._heard += chunk
        frame, self._heard = self._heard.split(b"\x1c\r", 1)
        return frame.lstrip(b"\x0b")

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
