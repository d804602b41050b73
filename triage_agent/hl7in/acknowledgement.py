"""What a message is answered: ACK with MSA and, where it was not taken, ERR (HL7 v2.5.1 sections 2.9 and 2.16)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from types import MappingProxyType

from triage_agent.hl7in.message import Hl7Message

_ERRORS: Mapping[int, str] = MappingProxyType(  # table 0357
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
_CONTROL_ID_LENGTH = 20
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
    header, version = message.header, message.header.text(12) or "2.5.1"
    event = message.kind[1]
    own_id = sha256(f"{message.control_id} {now.isoformat()}".encode()).hexdigest()[:_CONTROL_ID_LENGTH].upper()
    sender = (header.raw(3), header.raw(4))
    msh = ("MSH", "^~\\&", ourselves, institution, *sender, f"{now.astimezone():%Y%m%d%H%M%S%z}", "")
    kind = f"ACK^{event}^ACK" if event else "ACK"
    rest = (kind, own_id, header.raw(11) or "P", version)
    text = "|".join((*msh, *rest, *([""] * 5), header.raw(18))).rstrip("|")
    text += f"\rMSA|{code}|{message.control_id}\r"
    if answer.error:
        text += _err(answer.error, version)
    return text.encode(message.codec, "replace")


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


def _err(error: int, version: str) -> str:
    meaning = _ERRORS[error]
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < _ERR_3_SINCE:
        return f"ERR|^^^{error}&{meaning}&HL70357\r"
    return f"ERR|||{error}^{meaning}^HL70357|E\r"
