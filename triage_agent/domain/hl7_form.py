"""How one destination wants its HL7 v2 messages."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Hl7Version = Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6"]
# Of table 0211, what Python can write and MLLP can carry: in UTF-16 and -32 the bytes of its frame occur in text, in GB
# 18030 and Big-5 those of `|` and `\` as halves of characters.
Hl7Charset = Literal[
    "ASCII",
    "8859/1",
    "8859/2",
    "8859/3",
    "8859/4",
    "8859/5",
    "8859/6",
    "8859/7",
    "8859/8",
    "8859/9",
    "8859/15",
    "KS X 1001",
    "UNICODE UTF-8",
]
Hl7ResultStatus = Literal["preliminary", "final"]
Hl7Acknowledgement = Literal["original", "accept", "application"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hl7Form:
    """A destination's own form of a message; the same result has the same meaning in every form.

    Attributes:
        version: MSH-12; it decides which segments and fields there are.
        charset: MSH-18, and how the text is encoded.
        sending_application: MSH-3 as HL7 writes it, components and all; empty for the product's name.
        sending_facility: MSH-4; empty for the institution's name.
        receiving_application: MSH-5.
        receiving_facility: MSH-6.
        result_status: what an observation is by OBX-11, table 0085: always preliminary, or final with the decision.
        acknowledgement: the original mode, or the enhanced one with an answer on taking the message, or on processing
            it, too (chapter 2.9, MSH-15 and MSH-16).
        fields: the site's own values of fields: where to, and the template.
    """

    version: Hl7Version = "2.5.1"
    charset: Hl7Charset = "UNICODE UTF-8"
    sending_application: str = ""
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    result_status: Hl7ResultStatus = "preliminary"
    acknowledgement: Hl7Acknowledgement = "original"
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """What tells it from every other form; empty for the form that a destination has without a word about it."""
        return "" if self == USUAL_FORM else sha256(repr(self).encode()).hexdigest()


USUAL_FORM = Hl7Form()
"""For a destination that the site says nothing about."""
