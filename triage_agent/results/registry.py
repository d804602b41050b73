"""Every kind of artifact that a route can ask for, and who builds it. A new output is one file and one line here."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results.context import DECISION, EVIDENCE, FLAG, RAISE, Builder, ResultContext
from triage_agent.results.encapsulated_pdf import build_encapsulated_pdf
from triage_agent.results.evidence_picture import build_evidence_picture, has_maps
from triage_agent.results.evidence_state import build_evidence_state, can_outline
from triage_agent.results.fhir import build_fhir
from triage_agent.results.hl7_order import build_omi, build_orm
from triage_agent.results.hl7_oru import build_oru
from triage_agent.results.key_objects import build_key_objects, has_key_images
from triage_agent.results.presentation_state import build_presentation_state, can_annotate
from triage_agent.results.secondary_capture import build_secondary_capture
from triage_agent.results.structured_report import build_structured_report
from triage_agent.results.text_report import build_text_report
from triage_agent.results.ups import build_workitem

__all__ = ["REGISTRY", "Builder", "ResultContext"]

_ONCE = frozenset({DECISION})


def _report(kind: ArtifactKind, build: Callable[[ResultContext], Artifact]) -> Builder:
    """A kind that a later revision's replaces by naming it, and that can say that a study was not assessed."""
    return Builder(kind=kind, occasions=_ONCE, build=build, refers_to_previous=True, tells_of_unscored=True)


_BUILDERS = (
    _report(ArtifactKind.SR, build_structured_report),
    _report(ArtifactKind.SR_COMPREHENSIVE, partial(build_structured_report, kind=ArtifactKind.SR_COMPREHENSIVE)),
    _report(ArtifactKind.SR_ENHANCED, partial(build_structured_report, kind=ArtifactKind.SR_ENHANCED)),
    _report(ArtifactKind.SR_TEXT, build_text_report),
    Builder(kind=ArtifactKind.SC, occasions=_ONCE, build=build_secondary_capture, tells_of_unscored=True),
    Builder(kind=ArtifactKind.PDF, occasions=_ONCE, build=build_encapsulated_pdf, tells_of_unscored=True),
    Builder(kind=ArtifactKind.KOS, occasions=_ONCE, build=build_key_objects, has_something_to_say=has_key_images),
    Builder(kind=ArtifactKind.GSPS, occasions=_ONCE, build=build_presentation_state, has_something_to_say=can_annotate),
    Builder(
        kind=ArtifactKind.EVIDENCE_GSPS,
        occasions=frozenset({EVIDENCE}),
        build=build_evidence_state,
        has_something_to_say=can_outline,
    ),
    Builder(
        kind=ArtifactKind.EVIDENCE_SC,
        occasions=frozenset({EVIDENCE}),
        build=build_evidence_picture,
        has_something_to_say=has_maps,
    ),
    Builder(
        kind=ArtifactKind.HL7_ORU,
        occasions=frozenset({FLAG, DECISION}),
        build=build_oru,
        refers_to_previous=True,
        tells_of_unscored=True,
    ),
    Builder(kind=ArtifactKind.HL7_OMI, occasions=frozenset({FLAG, RAISE}), build=build_omi),
    Builder(kind=ArtifactKind.HL7_ORM, occasions=frozenset({FLAG, RAISE}), build=build_orm),
    Builder(kind=ArtifactKind.FHIR, occasions=frozenset({FLAG, DECISION}), build=build_fhir),
    Builder(kind=ArtifactKind.UPS, occasions=frozenset({FLAG, DECISION}), build=build_workitem),
)

REGISTRY: Mapping[ArtifactKind, Builder] = MappingProxyType({builder.kind: builder for builder in _BUILDERS})
