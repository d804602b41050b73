"""The tables of HL7 v2: who takes our messages, and who sends us theirs."""

from typing import Self

from pydantic import Field, model_validator

from triage_agent.sections.base import YEAR, Section
from triage_agent.sections.hl7_listen import Hl7ListenSettings


class Hl7PeerSettings(Section):
    """An HL7 v2 application that takes our messages over MLLP."""

    name: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    timeout_seconds: float = Field(default=10, gt=0, le=YEAR)


class Hl7Settings(Section):
    """HL7 v2 destinations, and what is listened for."""

    peers: tuple[Hl7PeerSettings, ...] = ()
    listen: Hl7ListenSettings | None = None

    @model_validator(mode="after")
    def _somebody_may_send(self) -> Self:
        if self.listen is None:
            return self
        if not self.listen.peers and not self.listen.networks:
            raise ValueError("listen: give the peers, or the networks, that may send to us")
        known = [peer.name for peer in self.peers]
        for name in self.listen.peers:
            if name not in known:
                raise ValueError(f"listen.peers: {name!r} is no [[hl7.peers]] name")
        return self
