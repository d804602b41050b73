"""A result as a page of text, for kinds that people see as an image or a document.

It names no patient unless the site asks for it: the page is shown in the patient's own study, and a picture of text
cannot be made anonymous by whoever copies the study.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import Enum, auto
from pathlib import Path

import reportlab
from reportlab.pdfbase.ttfonts import TTFont

from triage_agent.domain.decision import Decision
from triage_agent.results.context import PRODUCT, ResultContext
from triage_agent.results.header import date, first_text, patient_of, person_name, text_of
from triage_agent.results.summary import DISCLAIMER, FINDINGS, warnings_of, who_reads

# Bitstream Vera, which reportlab ships under a licence of its own that lets anybody use and embed it.
_FONTS = Path(reportlab.__file__).parent / "fonts"
REGULAR, BOLD = _FONTS / "Vera.ttf", _FONTS / "VeraBd.ttf"

_MOST_LINES = 40  # of what is said, before it is wrapped
_MOST_CHARACTERS = 600  # of one of them


class Style(Enum):
    """How a line is set."""

    TITLE = auto()
    STRONG = auto()
    PLAIN = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a page says."""

    text: str
    style: Style = Style.PLAIN


def page_of(context: ResultContext, decision: Decision) -> list[Line]:
    """What the page says, the most important first; not wrapped yet."""
    lines = list(_lines(context, decision))
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], Line(f"{len(lines) - _MOST_LINES} more lines are left out here.")]
    return [Line(_drawable(line.text)[:_MOST_CHARACTERS], line.style) for line in lines]


def _lines(context: ResultContext, decision: Decision) -> Iterator[Line]:
    region = f" ({decision.anatomy})" if decision.anatomy else ""
    yield Line("Triage result", Style.TITLE)
    yield Line(DISCLAIMER, Style.STRONG)
    yield from (Line(warning, Style.STRONG) for warning in warnings_of(decision.model))
    if context.name_patient:
        yield from map(Line, _patient(context))
    yield from (Line(said, Style.STRONG) for said in who_reads(decision))
    yield Line(f"Finding: {FINDINGS[decision.finding]}{region}", Style.STRONG)
    if decision.probability is not None:
        yield Line(f"Probability of abnormality: {decision.probability:.2f} (threshold {decision.model.threshold:g})")
    yield Line(f"Priority: {decision.priority.value}, by rule {decision.rule}")
    if decision.acr_category:
        yield Line(f"ACR category: {decision.acr_category}")
    yield Line(f"Algorithm: {PRODUCT} {context.software_version} with bundle {decision.model.label}")
    yield Line(f"Made at: {decision.decided_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, revision {decision.revision}")
    yield Line(f"Study: {decision.study_instance_uid}")
    yield from map(Line, decision.reasons)  # last, since there may be one an image


def _patient(context: ResultContext) -> Iterator[str]:
    patient = patient_of(context.headers)
    name = person_name(text_of(patient, "PatientName")).split("=")[0].replace("^", " ").strip()
    yield f"Patient: {name or 'not named'}, ID {text_of(patient, 'PatientID') or 'not stated'}"
    yield f"Born: {date(text_of(patient, 'PatientBirthDate')) or 'not stated'}"
    yield f"Study date: {date(first_text(context.headers, 'StudyDate')) or 'not stated'}"


def wrapped(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A text as lines that are no wider than `width` by `measure`; a word that is, is broken."""
    lines: list[str] = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if measure(longer) <= width:
            lines[-1] = longer
            continue
        rest = word
        while measure(rest) > width:
            fitting = max(1, bisect_right(range(len(rest)), width, key=lambda end: measure(rest[:end])) - 1)
            lines.append(rest[:fitting])
            rest = rest[fitting:]
        lines.append(rest)
    return lines[1:] if not lines[0] and len(lines) > 1 else lines


def said_on(lines: Sequence[Line]) -> str:
    """The page as plain text."""
    return "\n".join(line.text for line in lines)


def _drawable(text: str) -> str:
    """A text in characters that the font has: without marks where only those are missing, else "?"."""
    return "".join(map(_drawable_character, " ".join(text.split())))


def _drawable_character(character: str) -> str:
    if ord(character) in _GLYPHS:
        return character
    plain = [one for one in unicodedata.normalize("NFKD", character) if ord(one) in _GLYPHS]
    return "".join(plain) or "?"


_GLYPHS = frozenset(TTFont("Vera", str(REGULAR)).face.charToGlyph) & frozenset(
    TTFont("VeraBd", str(BOLD)).face.charToGlyph
)
