"""Which part of the body an instance shows, from codes, Body Part Examined and free text, and on which side."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triage_agent.imaging.anatomy import LIMB, LONGEST_PHRASE, OTHER, REGION_OF_CODE, REGION_OF_PHRASE
from triage_agent.imaging.tags import items, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

# Nearer to the image first: a study's description may name several regions.
_DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "StudyDescription",
)
_NEAR = frozenset(_DESCRIPTIONS[:3])
_CODED_PROCEDURES = ("PerformedProtocolCodeSequence", "RequestedProcedureCodeSequence", "ProcedureCodeSequence")
_SIDES = {"24028007": "R", "G-A100": "R", "7771000": "L", "G-A101": "L", "51440002": "B", "G-A102": "B"}
_WORD = re.compile(r"[a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the body.

    Attributes:
        code: `XR_KNEE`, ... as MURA's folders spell it; None when no single region is named.
        musculoskeletal: None when nothing in the header says.
        source: the attribute that said so, empty when none did.
        other: what it is when it is not musculoskeletal ("chest").
    """

    code: str | None = None
    musculoskeletal: bool | None = None
    source: str = ""
    other: str = ""


UNKNOWN = Region()


def region_of(header: Dataset) -> Region:
    """The region, from the first attribute that names one.

    Codes come first, then Body Part Examined, then descriptions, then procedure codes' meanings. "Lower extremity" is
    kept only if nothing names the part of it. Body Part Examined is often a console's default, so that a series whose
    own description names a musculoskeletal region is believed over a Body Part Examined that does not.
    """
    general, other = UNKNOWN, UNKNOWN
    for region in _named(header):
        if region.code is not None and (not other.source or region.source in _NEAR):
            return region
        if region.musculoskeletal is False and region.source == "AnatomicRegionSequence":
            return region
        if region.musculoskeletal is False:
            other = other if other.source else region
        elif region.code is None:
            general = general if general.source else region
    return other if other.source and not general.source else general


def laterality_of(header: Dataset) -> str | None:
    """R, L, B (both) or U (unpaired); None when the header does not say."""
    for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
        side = text(header, keyword).upper()[:1]
        if side and side in "RLBU":
            return side
    for anatomy in items(header, "AnatomicRegionSequence"):
        for modifier in items(anatomy, "AnatomicRegionModifierSequence"):
            side = _SIDES.get(text(modifier, "CodeValue"), "")
            if side:
                return side
    return None


def find_region(description: str) -> str | None:
    """The table entry for the longest known phrase in free text, musculoskeletal ones first among equals."""
    words = _WORD.findall(_plain(description))
    best: tuple[int, bool] = (0, False)
    found = None
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + LONGEST_PHRASE) + 1):
            phrase = " ".join(words[start:end])
            region = REGION_OF_PHRASE.get(phrase)
            rank = (len(phrase), region is not None and not region.startswith(OTHER))
            if region is not None and rank > best:
                best, found = rank, region
    return found


def _plain(description: str) -> str:
    """Lower case, accents off, camel case apart: "Épaule_droite" is "epaule_droite", "LowerLeg" is "lower leg"."""
    apart = _CAMEL.sub(" ", description)
    letters = unicodedata.normalize("NFKD", apart.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace("_", " ")


def _named(header: Dataset) -> Iterator[Region]:
    """What each attribute says, in the order of their weight; those that say nothing are left out."""
    for keyword in ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence"):
        for item in items(header, keyword):
            entry = REGION_OF_CODE.get(text(item, "CodeValue")) or find_region(text(item, "CodeMeaning"))
            if entry:
                yield _region(entry, keyword)
    for keyword in ("BodyPartExamined", *_DESCRIPTIONS):
        entry = find_region(" ".join(texts(header, keyword)))
        if entry:
            yield _region(entry, keyword)
    for keyword in _CODED_PROCEDURES:
        for item in items(header, keyword):
            entry = find_region(text(item, "CodeMeaning"))
            if entry:
                yield _region(entry, keyword)


def _region(entry: str, source: str) -> Region:
    if entry == LIMB:
        return Region(musculoskeletal=True, source=source)
    if entry.startswith(OTHER):
        return Region(musculoskeletal=False, source=source, other=entry.removeprefix(OTHER))
    return Region(code=entry, musculoskeletal=True, source=source)
