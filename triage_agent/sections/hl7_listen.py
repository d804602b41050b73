"""The table of the listener for orders and patients."""

import codecs
import re

from pydantic import Field, field_validator

from triage_agent.sections.base import YEAR, Section
from triage_agent.sections.dicom import Network

_PLACE = re.compile(r"(ORC|OBR|IPC|ZDS|TQ1)-([1-9][0-9]?)")


class Hl7ListenSettings(Section):
    """Where orders and news of patients are listened for, and from whom."""

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    peers: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    tls: bool = False
    max_connections: int = Field(default=50, ge=1, le=1000)
    timeout_seconds: float = Field(default=30, gt=0, le=YEAR)
    processing_id: str = Field(default="P", min_length=1, max_length=1)
    unstated_charset: str = "latin-1"
    accession: str | None = None
    assigning_authority: str = ""
    reissue_after_merge: bool = False

    @field_validator("accession")
    @classmethod
    def _is_place(cls, value: str | None) -> str | None:
        if value is not None and not _PLACE.fullmatch(value):
            raise ValueError("name a field of ORC, OBR, IPC, TQ1 or ZDS, such as OBR-18")
        return value

    @field_validator("unstated_charset")
    @classmethod
    def _is_codec(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError("is no character set that is known here; latin-1, cp1252 and utf-8 are") from None

    @property
    def accession_place(self) -> tuple[str, int] | None:
        """Segment and field of the accession number; None where IHE has it."""
        found = _PLACE.fullmatch(self.accession or "")
        return (found[1], int(found[2])) if found else None
