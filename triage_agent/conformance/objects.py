"""What we make: every kind of result, read from one that was made for an example (PS3.2, annexes A and C)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO

from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import dictionary_description, dictionary_has_tag
from pydicom.uid import UID

from triage_agent.conformance.document import Block, Paragraph, Section, table
from triage_agent.conformance.site import Site, listed
from triage_agent.domain.decision import Artifact
from triage_agent.domain.vocabulary import ArtifactKind, Family
from triage_agent.results.codes import REGIONS
from triage_agent.results.examples import example_artifact, example_header, varieties

_BULK = frozenset({"OB", "OW", "UN"})
_DICOM = (Family.DICOM_OBJECT, Family.WORKITEM)


def kinds(site: Site) -> Block:
    """Every kind of result, what it is, and where it goes here."""
    rows = [(kind.value, _what(kind), listed(site.destinations(kind))) for kind in ArtifactKind]
    return table("Results", ("Kind", "What it is", "Sent to"), rows)


def _what(kind: ArtifactKind) -> str:
    if kind.family is Family.HL7_MESSAGE:
        return f"HL7 v2 message {kind.value.removeprefix('hl7-').upper()}"
    if kind.family is Family.FHIR_RESOURCE:
        return "HL7 FHIR R4 transaction"
    return UID(_read(_example(kind)).SOPClassUID).name


@cache
def instances() -> Section:
    """The objects by their attributes; the same at every site."""
    made = [kind for kind in ArtifactKind if kind.family in _DICOM]
    return Section(
        "Objects that are made",
        (Paragraph(_HOW),),
        tuple(Section(f"{_what(kind)} ({kind.value})", tuple(_object(kind))) for kind in made),
    )


_HOW = (
    "Each table is of an object made for an example, of a study whose header has all that is used. An attribute whose "
    "source is 'images' is copied from the headers of the study's images; it is empty or absent where these do not "
    "have it. 'agent' are all others. Nothing of any received object is changed. Every object names its maker "
    "(Contributing Equipment Sequence): software version, bundle and its digest."
)


def _object(kind: ArtifactKind) -> Iterator[Block]:
    made, second = _read(_example(kind)), _read(_example(kind, other=True))
    if kind.family is Family.DICOM_OBJECT:
        rows = [
            ("SOP class", f"{UID(made.SOPClassUID).name} ({made.SOPClassUID})"),
            ("Transfer syntax", UID(made.file_meta.TransferSyntaxUID).name),
            ("Modality", made.Modality),
            ("Series", f"{made.SeriesNumber}, {made.SeriesDescription}"),
            ("Character set", made.SpecificCharacterSet),
            ("Template", listed(_templates(made)).replace("nobody", "none")),
        ]
        yield table("Object", ("Property", "Value"), rows)
    elements = [
        (_tag(element), _name(element), element.VR, "images" if _is_copied(element, second) else "agent")
        for element in made
    ]
    yield table("Attributes", ("Tag", "Name", "VR", "Source"), elements)


def _tag(element: DataElement) -> str:
    return f"({element.tag.group:04X},{element.tag.element:04X})"


def _name(element: DataElement) -> str:
    return dictionary_description(element.tag) if dictionary_has_tag(element.tag) else "private"


def _is_copied(element: DataElement, second: Dataset) -> bool:
    """Whether it is what the images say, here and in the object that was made of other images."""
    sources = example_header(), example_header(other=True)
    if element.keyword == "StudyInstanceUID":
        return True
    if element.VR in _BULK or any(element.tag not in one for one in (*sources, second)):
        return False
    here, there = (one[element.tag].value for one in sources)
    return bool(here != there and element.value == here and second[element.tag].value == there)


def _templates(made: Dataset) -> list[str]:
    """The templates that its content tree names."""
    found = [item for item in _items(made) if "TemplateIdentifier" in item]
    return sorted({f"TID {item.TemplateIdentifier} ({item.get('MappingResource', '')})" for item in found})


@cache
def codes() -> Section:
    """Every coded term that results of any finding have, and data elements of our own; the same at every site."""
    used: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    private: set[str] = set()
    for kind in ArtifactKind:
        if kind.family in _DICOM:
            for artifact in varieties(kind):
                made = _read(artifact)
                private |= {_tag(element) for element in made.iterall() if element.tag.is_private}
                for item in _items(made):
                    if "CodeMeaning" in item:
                        value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
                        used[item.CodingSchemeDesignator, str(value), str(item.CodeMeaning)].add(kind.value)
    rows = [(*code, ", ".join(sorted(where))) for code, where in sorted(used.items())]
    sites = [(region, one.scheme_designator, one.value, one.meaning) for region, one in REGIONS.items()]
    return Section(
        "Coded terminology and private attributes",
        (
            Paragraph("The codes of results of every finding, category and reason, of the example's region."),
            table("Codes", ("Scheme", "Value", "Meaning", "In"), rows),
            table("Finding sites", ("Region", "Scheme", "Value", "Meaning"), sites),
            Paragraph(
                f"Private attributes: {', '.join(sorted(private)) or 'none'}. Private SOP classes and transfer "
                "syntaxes: none. SOP classes are used as the standard has them, neither extended nor specialized."
            ),
        ),
    )


def _items(data: Dataset) -> Iterable[Dataset]:
    for element in data:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _items(item)


def _example(kind: ArtifactKind, *, other: bool = False) -> Artifact:
    made = example_artifact(kind, other=other)
    if made is None:
        raise LookupError(f"the example gives no {kind.value}")
    return made


def _read(artifact: Artifact) -> Dataset:
    return dcmread(BytesIO(artifact.body))
