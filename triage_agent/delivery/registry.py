"""Every way to a destination, by the protocol's name. A new transport is one file and one line here."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from triage_agent.delivery.dicomweb import DicomwebTransport
from triage_agent.delivery.dimse import DimseTransport
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.delivery.fhir import FhirTransport
from triage_agent.delivery.mllp import MllpTransport
from triage_agent.domain.ports import Transport

__all__ = ["REGISTRY", "Endpoint"]

# None of them touches the network before it is asked to send or to check.
REGISTRY: Mapping[str, Callable[[Endpoint], Transport]] = MappingProxyType(
    {"dicomweb": DicomwebTransport, "dimse": DimseTransport, "fhir": FhirTransport, "mllp": MllpTransport}
)
