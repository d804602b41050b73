"""What goes to a PACS over DIMSE: objects by C-STORE (PS3.4 annex B), workitems by UPS Push and Pull (annex CC)."""

from triage_agent.delivery.endpoint import Endpoint
from triage_agent.dimse.client import DicomClient
from triage_agent.dimse.peers import Peer
from triage_agent.dimse.ups_push import WorkitemClient
from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import ArtifactKind, Family


class DimseTransport:
    """Sends to a PACS over associations that are kept while there is something to send, one for each service."""

    kinds = frozenset(kind for kind in ArtifactKind if kind.family in {Family.DICOM_OBJECT, Family.WORKITEM})

    def __init__(self, endpoint: Endpoint) -> None:
        peer = Peer(
            name=endpoint.name or endpoint.ae_title,
            ae_title=endpoint.ae_title,
            host=endpoint.host,
            port=endpoint.port,
            may=frozenset(),
            tls=endpoint.tls,
        )
        self._client = DicomClient(
            peer,
            calling_ae_title=endpoint.calling_ae_title,
            connect_seconds=endpoint.connect_seconds,
            answer_seconds=endpoint.answer_seconds,
        )
        self._workitems = WorkitemClient(
            peer,
            calling_ae_title=endpoint.calling_ae_title,
            connect_seconds=endpoint.connect_seconds,
            answer_seconds=endpoint.answer_seconds,
        )

    def send(self, artifact: Artifact) -> None:
        """Send one Part 10 file; see `Transport.send`. What each status means is `dimse.statuses`' table."""
        if artifact.kind.family is Family.WORKITEM:
            self._workitems.put(artifact.body)
        else:
            self._client.store(artifact.body)

    def check(self) -> str:
        """C-ECHO."""
        return self._client.echo()

    def close(self) -> None:
        """Release the associations that are kept; the next object makes another."""
        self._client.close()
        self._workitems.close()
