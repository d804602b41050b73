"""What a region of the body offers to be X-rayed: its views, and the places where something can be wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from triage_agent.simulation.phantom.body import Body
from triage_agent.simulation.phantom.scene import Scene


@dataclass(frozen=True)
class Look:
    """One view: the limb is turned `turn` degrees about its long axis. `position` is DICOM's, with {} for L or R."""

    name: str
    position: str
    turn: float
    routine: bool = True  # taken of every patient


@dataclass(frozen=True)
class Place:
    """A stretch of a bone, as fractions of its length, with how likely it is to be hit."""

    bone: str
    low: float
    high: float
    weight: float = 1.0


@dataclass(frozen=True)
class Region:
    """One anatomy: how to build its scene, its views, and where each kind of abnormality occurs."""

    build: Callable[[Body, Look, np.random.Generator], Scene]
    looks: tuple[Look, ...]
    fractures: tuple[Place, ...]
    lesions: tuple[Place, ...]
    wires: tuple[Place, ...]
    plates: tuple[Place, ...]
    prostheses: tuple[str, ...] = ()
    dislocations: Mapping[str, float] = field(default_factory=dict)  # joint -> largest shift (mm)
    arthritis: tuple[tuple[str, ...], ...] = ()  # groups of joints that narrow together
