"""The groups of studies that waits are told of: by what they show and what the software said."""

from collections.abc import Callable, Mapping

from triage_agent.capacity.room import CaseMix, Cell

# Who was ordered STAT goes first with or without a flag: the groups between are those who were not.
_GROUPS: Mapping[str, Callable[[Cell], bool]] = {
    "all": lambda _cell: True,
    "stat": lambda cell: cell.stat,
    "diseased": lambda cell: not cell.stat and cell.disease is not None,
    "non_diseased": lambda cell: not cell.stat and cell.disease is None,
    "flagged": lambda cell: not cell.stat and cell.flagged,
    "unflagged": lambda cell: not cell.stat and not cell.flagged,
    "true_positive": lambda cell: not cell.stat and cell.disease is not None and cell.flagged,
    "false_negative": lambda cell: not cell.stat and cell.disease is not None and not cell.flagged,
    "false_positive": lambda cell: not cell.stat and cell.disease is None and cell.flagged,
    "true_negative": lambda cell: not cell.stat and cell.disease is None and not cell.flagged,
}


def groups_of(mix: CaseMix) -> dict[str, tuple[Cell, ...]]:
    """The kinds of study in each group that has any."""
    found = {name: tuple(cell for cell in mix.cells if holds(cell)) for name, holds in _GROUPS.items()}
    return {name: cells for name, cells in found.items() if cells}


def diseases_of(mix: CaseMix) -> dict[str, tuple[Cell, ...]]:
    """The kinds of study that show each disease, STAT left out."""
    names = [disease.name for disease in mix.diseases]
    found = {name: tuple(cell for cell in mix.cells if cell.disease == name and not cell.stat) for name in names}
    return {name: cells for name, cells in found.items() if cells}


def share_of(cells: tuple[Cell, ...]) -> float:
    """Of all studies."""
    return sum(cell.share for cell in cells)


def mean_over(cells: tuple[Cell, ...], waits: Mapping[Cell, float]) -> float:
    """The mean wait of a group, from those of its kinds. Minutes."""
    return sum(cell.share * waits[cell] for cell in cells) / share_of(cells)
