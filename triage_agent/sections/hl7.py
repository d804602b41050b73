"""The tables of HL7 v2: who takes our messages."""

from pydantic import Field

from triage_agent.sections.base import YEAR, Section


class Hl7PeerSettings(Section):
    """An HL7 v2 application that takes our messages over MLLP."""

    name: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    timeout_seconds: float = Field(default=10, gt=0, le=YEAR)


class Hl7Settings(Section):
    """HL7 v2 destinations."""

    peers: tuple[Hl7PeerSettings, ...] = ()
