"""The tables of HL7 v2: who takes our messages and in which form, and who sends us theirs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.hl7_form import Hl7Acknowledgement, Hl7Charset, Hl7Form, Hl7ResultStatus, Hl7Version
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.results.hl7_fields import require_usable
from triage_agent.results.hl7_versions import VERSIONS
from triage_agent.sections.base import YEAR, Section
from triage_agent.sections.hl7_listen import Hl7ListenSettings

_Name = Annotated[str, StringConstraints(max_length=227)]  # HD, chapter 2A


class Hl7PeerSettings(Section):
    """An HL7 v2 application that takes our messages over MLLP."""

    name: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    timeout_seconds: float = Field(default=10, gt=0, le=YEAR)
    version: Hl7Version = "2.5.1"
    charset: Hl7Charset = "UNICODE UTF-8"
    sending_application: _Name = ""
    sending_facility: _Name = ""
    receiving_application: _Name = ""
    receiving_facility: _Name = ""
    result_status: Hl7ResultStatus = "preliminary"
    acknowledgement: Hl7Acknowledgement = "original"
    fields: dict[str, str] = Field(default_factory=dict, max_length=200)
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = None
    certificate_name: str = ""

    @model_validator(mode="after")
    def _form_is_usable(self) -> Self:
        try:
            require_usable(self.form())
        except ConfigurationError as error:
            raise ValueError(f"peer {self.name!r}: {error}") from None
        return self

    @model_validator(mode="after")
    def _tls_fits(self) -> Self:
        given = [
            name for name in ("ca", "certificate", "key", "key_password", "certificate_name") if getattr(self, name)
        ]
        if given and not self.tls:
            raise ValueError(f"peer {self.name!r}: {given[0]} is for TLS; add tls = true")
        if bool(self.certificate) != bool(self.key):
            raise ValueError(f"peer {self.name!r}: give certificate and key, or neither")
        if self.certificate and not self.ca:
            raise ValueError(f"peer {self.name!r}: give ca too, who signed the peer's certificate")
        return self

    def form(self) -> Hl7Form:
        """The same as a domain value."""
        return Hl7Form(
            version=self.version,
            charset=self.charset,
            sending_application=self.sending_application,
            sending_facility=self.sending_facility,
            receiving_application=self.receiving_application,
            receiving_facility=self.receiving_facility,
            result_status=self.result_status,
            acknowledgement=self.acknowledgement,
            fields=tuple(self.fields.items()),
        )


def require_version(peer: Hl7PeerSettings, kinds: Iterable[ArtifactKind]) -> None:
    """See that a peer's version has the messages that a route sends there.

    Raises:
        ValueError: it has not.
    """
    known = VERSIONS[peer.version].kinds
    for kind in kinds:
        if kind.family is Family.HL7_MESSAGE and kind not in known:
            others = " or ".join(version for version, facts in VERSIONS.items() if kind in facts.kinds)
            raise ValueError(
                f"a route sends {kind.value} to {peer.name!r}, whose version {peer.version} has no such message but "
                f"{', '.join(sorted(known))}; {kind.value} is in {others}"
            )


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
