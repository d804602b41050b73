"""Every kind of artifact that a route can ask for, and who builds it. A new output is one file and one line here."""

from collections.abc import Mapping
from types import MappingProxyType

from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import DECISION, FLAG, Builder, ResultContext
from triage_agent.results.hl7_oru import build_oru
from triage_agent.results.structured_report import build_structured_report
from triage_agent.results.ups import build_workitem

__all__ = ["REGISTRY", "Builder", "ResultContext"]

_BUILDERS = (
    Builder(
        kind=ArtifactKind.SR, occasions=frozenset({DECISION}), build=build_structured_report, refers_to_previous=True
    ),
    Builder(kind=ArtifactKind.HL7_ORU, occasions=frozenset({FLAG, DECISION}), build=build_oru),
    Builder(kind=ArtifactKind.UPS, occasions=frozenset({FLAG, DECISION}), build=build_workitem),
)

REGISTRY: Mapping[ArtifactKind, Builder] = MappingProxyType({builder.kind: builder for builder in _BUILDERS})
