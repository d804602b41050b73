"""What an HL7 v2 message asks to be answered with, and what an answer says (chapter 2.9). Pure."""

import re
from dataclasses import dataclass

_START = b"\x0b"
_ERROR_CODE = re.compile(r"[0-9]{1,4}")  # table 0357
_ALWAYS = "AL"  # table 0155
_CONTROL_ID, _ACCEPT, _APPLICATION, _VERSION = 9, 14, 15, 11  # MSH-1 is the separator: MSH-n is piece n - 1
_PLAIN = re.compile(r"[\x21-\x7e]{1,199}")  # of another's MSH-10, what is repeated as it came


@dataclass(frozen=True, slots=True)
class Asked:
    """What a message of ours asks for: MSH-10, and whether MSH-16 wants to hear of its processing, too."""

    control_id: str
    application: bool


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the peer said of a message: MSA-1, MSA-2 and, where it is a plain code, ERR-3.

    Attributes:
        own_id: MSH-10 of the answer itself.
        wants_accept: its MSH-15 asks for an accept acknowledgement.
    """

    code: str
    control_id: str
    error_code: str
    own_id: str = ""
    wants_accept: bool = False


def asks_for(message: bytes) -> Asked:
    """Read MSH of a message."""
    pieces = message.split(b"\r", 1)[0].split(message[3:4] or b"|")
    msh = [piece.decode("utf-8", "replace") for piece in pieces] + [""] * (_APPLICATION + 1)
    return Asked(control_id=msh[_CONTROL_ID], application=msh[_APPLICATION] == _ALWAYS)


def parse_acknowledgement(frame: bytes) -> Acknowledgement:
    """Read MSH, MSA and ERR of an answer; what is missing is empty."""
    text = frame.rpartition(_START)[2].decode("utf-8", "replace")
    separator = text[3] if text.startswith("MSH") and len(text) > len("MSH|") else "|"
    segments: dict[str, list[str]] = {}
    for line in re.split(r"[\r\n]+", text):
        fields = line.split(separator)
        segments.setdefault(fields[0], fields)
    msh = [*segments.get("MSH", []), *[""] * (_APPLICATION + 1)]
    msa = [*segments.get("MSA", []), "", "", ""]
    err = [*segments.get("ERR", []), "", "", "", ""]
    code = err[3].split("^")[0]
    return Acknowledgement(
        code=msa[1].strip(),
        control_id=msa[2].strip(),
        error_code=code if _ERROR_CODE.fullmatch(code) else "",
        own_id=msh[_CONTROL_ID].strip(),
        wants_accept=msh[_ACCEPT].strip() == _ALWAYS,
    )


def acknowledge(said: Acknowledgement) -> bytes:
    """The accept acknowledgement of an answer: that it came, whatever it says."""
    own_id = said.own_id if _PLAIN.fullmatch(said.own_id) and "|" not in said.own_id else ""
    return f"MSH|^~\\&|||||||ACK|{own_id}A|P|2.5.1\rMSA|CA|{own_id}\r".encode()
