"""A raised priority as a change of the order: OMI^O23^OMI_O23 (HL7 v2.5 on), or ORM^O01^ORM_O01.

ORC-1 is XO, "change order/service request" (table 0119): the order is its owner's, who decides. It is sent only where
the agent has raised: an order whose priority stays as it is has not changed, and what it is the images may not say.
"""

from pydicom import Dataset

from triage_agent.domain.decision import Artifact
from triage_agent.domain.quiet import quiet
from triage_agent.domain.vocabulary import ArtifactKind
from triage_agent.results import codes as concepts
from triage_agent.results.context import ResultContext
from triage_agent.results.hl7_segments import (
    Order,
    Segment,
    coded,
    escape,
    made_at,
    message,
    notes,
    order_of,
    priority_segments,
    quantity_timing,
    stated,
)

_CHANGE = "XO"


def build_omi(context: ResultContext) -> Artifact:
    """An imaging order; IPC has the identifiers that PACS and RIS share."""
    order = order_of(context)
    fields = {1: order.accession, 2: order.requested_procedure, 3: context.result.study_instance_uid}
    ipc = Segment("IPC", fields | {4: order.scheduled_step, 5: stated(context.headers, "Modality")})
    body = [
        _orc(context, order),
        *priority_segments(context),
        _obr(context, order),
        *notes(context, f"Bundle: {context.model.label}."),
        ipc,
    ]
    return message(ArtifactKind.HL7_OMI, ("OMI", "O23", "OMI_O23"), context, body)


def build_orm(context: ResultContext) -> Artifact:
    """A general order: it has no TQ1 in any version, and ZDS for the study's UID (IHE Radiology TF-2, RAD-4)."""
    order, timing = order_of(context), quantity_timing(context)
    orc, obr = _orc(context, order), _obr(context, order)
    body = [
        Segment("ORC", {**orc.fields, 7: timing}),
        Segment("OBR", {**obr.fields, 27: timing}),
        *notes(context, f"Bundle: {context.model.label}."),
        Segment("ZDS", {1: f"{context.result.study_instance_uid}^100^Application^DICOM"}),
    ]
    return message(ArtifactKind.HL7_ORM, ("ORM", "O01", "ORM_O01"), context, body)


def _orc(context: ResultContext, order: Order) -> Segment:
    why = f"{escape(context.result.rule)}^Priority raised by triage^{concepts.SITE_SCHEME}"
    return Segment("ORC", {1: _CHANGE, 2: order.placer, 3: order.filler, 9: made_at(context), 16: why})


def _obr(context: ResultContext, order: Order) -> Segment:
    """OBR-18 to OBR-20 as IHE Radiology has them for orders: accession number, requested procedure, scheduled step."""
    return Segment(
        "OBR",
        {
            1: "1",
            2: order.placer,
            3: order.filler,
            4: _procedure(context),
            18: order.accession,
            19: order.requested_procedure,
            20: order.scheduled_step,
            24: stated(context.headers, "Modality"),
        },
    )


def _procedure(context: ResultContext) -> str:
    """What was ordered, as the images name it."""
    for one in context.headers:
        for item in _codes(one):
            parts = [stated([item], keyword) for keyword in ("CodeValue", "CodeMeaning", "CodingSchemeDesignator")]
            if parts[0]:
                return "^".join(parts)
    described = stated(context.headers, "RequestedProcedureDescription")
    return f"^{described}" if described else coded(concepts.IMAGING_PROCEDURE)


def _codes(one: Dataset) -> list[Dataset]:
    try:
        with quiet():
            return [item for item in one.get("ProcedureCodeSequence") or [] if isinstance(item, Dataset)]
    except Exception:  # noqa: BLE001 - any fault of a foreign header means: not known
        return []
