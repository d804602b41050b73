"""The images that raised a study as a Key Object Selection (PS3.3 A.35.4, TID 2010), titled "Of Interest".

It names whole images and no region within one (promise 6). A PACS shows them as the study's key images.
"""

from highdicom.ko import KeyObjectSelection
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import KeyObjectSelectionDocumentStorage

from triage_agent.domain.decision import Artifact, Decision
from triage_agent.domain.vocabulary import ArtifactKind, Finding, Outcome
from triage_agent.results.composite import Series, as_file, begin, set_content_time, short_text
from triage_agent.results.context import ResultContext, require_decision
from triage_agent.results.evidence import Source, evidence_item, sources_of
from triage_agent.results.observer import observer_of
from triage_agent.results.summary import explanation, headline

_SERIES = Series(modality="KO", number=9912, name="kos")
_RAISING = frozenset({Finding.ABNORMAL, Finding.UNCERTAIN})


def key_images(context: ResultContext) -> list[Source]:
    """The images at or above the bundle's threshold of a study that is not found normal; none for a flag."""
    result = context.result
    if not isinstance(result, Decision) or result.finding not in _RAISING:
        return []
    return [source for source in sources_of(context) if _raises(source, result)]


def has_key_images(context: ResultContext) -> bool:
    """Whether there is anything to select."""
    return bool(key_images(context))


def build_key_objects(context: ResultContext) -> Artifact:
    """The selection as a Part 10 file; only for contexts that have key images."""
    decision, chosen = require_decision(context), key_images(context)
    dataset = begin(context, _SERIES, KeyObjectSelectionDocumentStorage, context.uid(ArtifactKind.KOS.value))
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.InstanceNumber = max(1, decision.revision)
    set_content_time(context, dataset)
    dataset.CurrentRequestedProcedureEvidenceSequence = [evidence_item(chosen)]
    content = KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=[referenced(one.sop_class_uid, one.sop_instance_uid, image=True) for one in chosen],
        observer_device_context=observer_of(context),
        description=short_text([headline(decision), *explanation(decision)]),
    )
    for element in content[0]:
        dataset.add(element)
    return Artifact(
        kind=ArtifactKind.KOS,
        uid=dataset.SOPInstanceUID,
        body=as_file(dataset, context.software_version),
        summary=headline(decision),
    )


def referenced(sop_class_uid: str, sop_instance_uid: str, *, image: bool) -> Dataset:
    """What highdicom makes a reference of: it tells images from other objects by their having rows and columns."""
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = sop_class_uid, sop_instance_uid
    if image:
        found.Rows = found.Columns = 1
    return found


def _raises(source: Source, decision: Decision) -> bool:
    """Whether its score counted, and is at or above the threshold."""
    one, model = source.assessment, decision.model
    if one is None or one.outcome is not Outcome.SCORED or one.probability is None:
        return False
    counts = one.anatomy is None or one.anatomy in model.anatomies
    return counts and one.probability >= min(model.threshold, model.alert)
