"""A document of numbered sections, paragraphs, tables and examples, before anybody has decided how it looks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are heads."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """Lines as they go over the wire."""

    title: str
    lines: tuple[str, ...]


Block = Paragraph | Table | Example


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it; its number follows from its place."""

    title: str
    blocks: tuple[Block, ...] = ()
    sections: "tuple[Section, ...]" = ()


@dataclass(frozen=True, slots=True)
class Document:
    """The whole."""

    title: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...]


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table of whatever can be text; one without rows says so.

    Raises:
        ValueError: a row has more or fewer cells than there are heads.
    """
    made = tuple(tuple(str(cell) for cell in row) for row in rows)
    if any(len(row) != len(heads) for row in made):
        raise ValueError(f"a row of {title!r} does not fit its heads")
    return Table(title, tuple(heads), made or (("none", *("-" for _ in heads[1:])),))


def numbered(sections: Sequence[Section], before: str = "") -> Iterable[tuple[str, int, Section]]:
    """Every section with its number and depth, in order; 1, 1.1, 1.2, 2, ..."""
    for place, section in enumerate(sections, start=1):
        number = f"{before}{place}"
        yield number, number.count(".") + 1, section
        yield from numbered(section.sections, f"{number}.")
