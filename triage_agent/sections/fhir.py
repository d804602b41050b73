"""The tables of FHIR: who takes our results as resources."""

from typing import Literal

from triage_agent.delivery.endpoint import Endpoint, FhirDialect
from triage_agent.sections.base import Section
from triage_agent.sections.http import HttpPeerSettings


class FhirPeerSettings(HttpPeerSettings):
    """A FHIR R4 server; its url is the server's root, below which `/DiagnosticReport` is."""

    priority: Literal["task", "service-request", "none"] = "task"
    patient_system: str = ""
    accession_system: str = ""

    def endpoint(self) -> Endpoint:
        """The same for a transport."""
        dialect = FhirDialect(
            priority=self.priority, patient_system=self.patient_system, accession_system=self.accession_system
        )
        return self.reached(fhir=dialect)


class FhirSettings(Section):
    """FHIR destinations."""

    peers: tuple[FhirPeerSettings, ...] = ()
