"""What `check` looks at of HL7 peers: an example of each message, as its receiver would get it, and certificates."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from triage_agent.builders import build_routes
from triage_agent.cli import ports
from triage_agent.dimse.certificates import TlsFiles, read_identity
from triage_agent.domain.decision import InForm
from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.domain.vocabulary import Family
from triage_agent.results.hl7_example import example_message
from triage_agent.sections.hl7 import Hl7PeerSettings
from triage_agent.settings import Settings


def examples(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """A part for each kind and destination."""
    for route in build_routes(settings):
        for kind in route.send:
            if kind.family is Family.HL7_MESSAGE:
                yield (
                    f"{kind.value} to {route.to}",
                    partial(_example, (kind, route.form_of(kind)), settings.institution),
                )


def _example(what: InForm, institution: str) -> str:
    """In one line, as everything that `check` says: " / " stands for the end of a segment."""
    _, form = what
    return f"version {form.version}, {form.charset}, for example: {' / '.join(example_message(what, institution))}"


def certificates(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """A part for each peer that is called with a certificate of its own table."""
    for peer in settings.hl7.peers:
        if peer.certificate is not None:
            yield f"TLS certificate for {peer.name}", partial(_certificate, peer)


def _certificate(peer: Hl7PeerSettings) -> str:
    if peer.certificate is None or peer.key is None or peer.ca is None:
        return "none"
    files = TlsFiles(certificate=peer.certificate, key=peer.key, ca=peer.ca, key_password=peer.key_password)
    now = datetime.now(UTC)
    try:
        identity = read_identity(files, now)
    except ConfigurationError as error:  # it speaks of the table that such files are usually in
        said, remedy = (text.replace("[dicom.tls]", "[[hl7.peers]]") for text in (error.message, error.remedy))
        raise TriageError(said, remedy=remedy) from None
    if identity.expires <= now:
        raise TriageError(f"certificate {peer.certificate} expired at {identity.expires:%Y-%m-%d}", remedy="replace it")
    return ports.told_in_time(identity, now)
