"""Which instances a report is about, and how it refers to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import TriageError
from triage_agent.domain.study import Assessment, StoredInstance
from triage_agent.domain.uids import is_uid
from triage_agent.domain.vocabulary import Outcome
from triage_agent.results.context import ResultContext
from triage_agent.results.header import text_of

_RADIOGRAPHS = frozenset(
    {
        ComputedRadiographyImageStorage,
        DigitalXRayImageStorageForPresentation,
        DigitalXRayImageStorageForProcessing,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One instance that a report refers to.

    Attributes:
        laterality: "R", "L", "B", or empty where nothing says so.
        assessment: what scoring gave; None when it is not known.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    laterality: str
    assessment: Assessment | None

    @property
    def considered(self) -> bool:
        """Whether the model was meant to score it."""
        return self.assessment is not None and self.assessment.outcome is not Outcome.SKIPPED


def sources_of(context: ResultContext) -> list[Source]:
    """The instances that a report refers to, each once, in the headers' order.

    Every instance that the model was meant to score and every other radiograph; where the study has neither, every
    instance that can be referred to at all.
    """
    assessments = {one.sop_instance_uid: one for one in context.assessments}
    stored = {one.sop_instance_uid: one for one in context.stored}
    known: dict[str, Source] = {}
    for header in context.headers:
        source = _source(header, context.result.study_instance_uid, stored, assessments)
        if source is not None:
            known.setdefault(source.sop_instance_uid, source)
    wanted = [source for source in known.values() if source.considered or source.sop_class_uid in _RADIOGRAPHS]
    return wanted or list(known.values())


def require_sources(context: ResultContext) -> list[Source]:
    """The same for an object that must refer to something.

    Raises:
        TriageError: there is nothing that it could refer to.
    """
    if not (sources := sources_of(context)):
        raise TriageError("no instance of the study can be referred to", remedy="look at its headers' identifiers")
    return sources


def predecessor_of(context: ResultContext) -> Source | None:
    """The report of an earlier revision of this study, to be referred to; None where there is none."""
    if context.previous is None:
        return None
    return source_of(header_in(context.previous), context.result.study_instance_uid)


def header_in(artifact: Artifact) -> Dataset:
    """What an object of ours says of itself, without pixels; where its bytes were let go, what was kept of that."""
    return dcmread(BytesIO(artifact.body or artifact.header), stop_before_pixels=True)


def source_of(header: Dataset, study_instance_uid: str) -> Source | None:
    """How to refer to an object that nobody scores; None where it is of another study or names itself wrongly."""
    return _source(header, study_instance_uid, {}, {})


def _source(
    header: Dataset,
    study_instance_uid: str,
    stored: Mapping[str, StoredInstance],
    assessments: Mapping[str, Assessment],
) -> Source | None:
    """What the header names itself; its SOP class and series as intake settled them, where that is known."""
    uid = text_of(header, "SOPInstanceUID")
    known = stored.get(uid)
    sop_class = known.sop_class_uid if known else text_of(header, "SOPClassUID")
    series = known.series_instance_uid if known else text_of(header, "SeriesInstanceUID")
    if not all(map(is_uid, (sop_class, uid, series))) or text_of(header, "StudyInstanceUID") != study_instance_uid:
        return None
    return Source(
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        series_instance_uid=series,
        study_instance_uid=study_instance_uid,
        laterality=_laterality(header),
        assessment=assessments.get(uid),
    )


def _laterality(header: Dataset) -> str:
    stated = text_of(header, "ImageLaterality") or text_of(header, "Laterality")
    return stated.upper()[:1] if stated.upper()[:1] in {"R", "L", "B"} else ""


def common_laterality(sources: Sequence[Source]) -> str:
    """The side that all of them state; empty where one states none or another."""
    sides = {source.laterality for source in sources}
    return sides.pop() if len(sides) == 1 else ""


def evidence_item(sources: Sequence[Source]) -> Dataset:
    """Hierarchical SOP Instance Reference Macro (PS3.3 C.17.2.1) of one study: viewers refuse reports without it."""
    series: dict[str, Dataset] = {}
    for source in sources:
        item = series.setdefault(source.series_instance_uid, Dataset())
        item.SeriesInstanceUID = source.series_instance_uid
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.sop_class_uid
        reference.ReferencedSOPInstanceUID = source.sop_instance_uid
        item.ReferencedSOPSequence = [*item.get("ReferencedSOPSequence", []), reference]
    study = Dataset()
    study.ReferencedSeriesSequence = list(series.values())
    study.StudyInstanceUID = sources[0].study_instance_uid
    return study
