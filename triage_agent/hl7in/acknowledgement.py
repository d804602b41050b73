"""What a message is answered: ACK with MSA and, where it was not taken, ERR (HL7 v2.5.1 sections 2.9 and 2.16)."""

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from triage_agent.hl7in.message import Delimiters, Hl7Message

ERRORS: Mapping[int, str] = MappingProxyType(  # table 0357
    {
        100: "Segment sequence error",
        101: "Required field missing",
        102: "Data type error",
        200: "Unsupported message type",
        201: "Unsupported event code",
        202: "Unsupported processing id",
        203: "Unsupported version id",
        207: "Application internal error",
    }
)
LONGEST_ECHO = 250
"""Characters of a sender's own fields that are repeated to it; MSH-10 has at most 199 in any version."""

_CONTROL_ID_LENGTH = 20
_VERSION = re.compile(r"2(\.[0-9]){1,3}")
_EVENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_OUR_VERSION = "2.5.1"
_ERR_3_SINCE = (2, 5)  # before it, ERR-1 has the code


class Verdict(StrEnum):
    """What becomes of a message (table 0008, without its first letter)."""

    TAKEN = "A"  # and durable
    AGAIN = "E"  # not now
    NEVER = "R"


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict with what is wrong, of table 0357; 0 where nothing is."""

    verdict: Verdict
    error: int = 0

    @property
    def code(self) -> str:
        """AA, AE or AR, for logs and metrics."""
        return f"A{self.verdict.value}"


def acknowledge(message: Hl7Message, answer: Answer, now: datetime, ourselves: str, institution: str) -> bytes | None:
    """The acknowledgement in the message's character set; None where its sender wants none (MSH-15, MSH-16)."""
    code = _code(message, answer)
    if code is None:
        return None
    header, marks = message.header, message.delimiters
    version = stated if _VERSION.fullmatch(stated := header.text(12) or "") else _OUR_VERSION
    event = stated if _EVENT.fullmatch(stated := message.kind[1]) else ""
    own_id = sha256(f"{message.control_id} {now.isoformat()}".encode()).hexdigest()[:_CONTROL_ID_LENGTH].upper()
    fields = {
        1: header.raw(2),
        2: _plain(ourselves, marks),
        3: _plain(institution, marks),
        4: _echoed(header.raw(3)),
        5: _echoed(header.raw(4)),
        6: f"{now.astimezone():%Y%m%d%H%M%S%z}",
        8: marks.component.join(("ACK", event, "ACK")) if event else "ACK",
        9: own_id,
        10: _echoed(header.raw(11)) or "P",
        11: version,
        17: _echoed(header.raw(18)),
    }
    msh = _segment("MSH", {number: text for number, text in fields.items() if text}, marks)
    msa = _segment("MSA", {1: code, 2: _echoed(message.control_id)}, marks)
    err = _err(answer.error, version, marks) if answer.error else ""
    return (msh + msa + err).encode(message.codec, "replace")


def _segment(name: str, fields: Mapping[int, str], marks: Delimiters) -> str:
    """A segment from its fields by number; of MSH by number less one, since MSH-1 is the separator."""
    values = [fields.get(number, "") for number in range(1, max(fields) + 1)]
    return marks.field.join((name, *values)) + "\r"


def _echoed(raw: str) -> str:
    return raw[:LONGEST_ECHO]


def _plain(text: str, marks: Delimiters) -> str:
    """Text of our own, without what the sender has for delimiters."""
    return "".join(" " if one in astuple(marks) or not one.isprintable() else one for one in text)


def _code(message: Hl7Message, answer: Answer) -> str | None:
    """MSA-1: in original mode and where an application acknowledgement is wanted A, else C; None for neither."""
    accept, application = (message.header.text(15) or "").upper(), (message.header.text(16) or "").upper()
    if not accept and not application:
        return answer.code
    taken = answer.verdict is Verdict.TAKEN
    wanted = {"AL": True, "NE": False, "ER": not taken, "SU": taken}
    if wanted.get(application, False):
        return answer.code
    return f"C{answer.verdict.value}" if wanted.get(accept, True) else None


def _err(error: int, version: str, marks: Delimiters) -> str:
    code = (str(error), ERRORS[error], "HL70357")
    if tuple(map(int, version.split(".")[:2])) < _ERR_3_SINCE:
        return _segment("ERR", {1: marks.component * 3 + marks.subcomponent.join(code)}, marks)
    return _segment("ERR", {3: marks.component.join(code), 4: "E"}, marks)
