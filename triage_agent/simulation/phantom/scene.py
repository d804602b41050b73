"""What stands in the beam: bones, soft tissue, metal, and the places where something can be wrong with them."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from triage_agent.simulation.phantom.rigid import Rigid, Vector
from triage_agent.simulation.phantom.solids import Ellipsoid, Loft, Solid


@dataclass(frozen=True, eq=False)
class Void:
    """A region where bone is missing: a fossa, a lytic lesion. `strength` 0..1; `rim` is the density of its border."""

    shape: Ellipsoid
    strength: float
    rim: float = 0.0

    def moved(self, by: Rigid) -> "Void":
        """The same region after a rigid motion."""
        return replace(self, shape=self.shape.moved(by))


@dataclass(frozen=True, eq=False)
class Bone:
    """Solids that make one bone; `segment` says what it moves with, `texture` how coarse its weave is."""

    name: str
    segment: str
    parts: tuple[Solid, ...]
    texture: float = 0.3
    voids: tuple[Void, ...] = ()
    deposits: tuple[Ellipsoid, ...] = ()

    def moved(self, by: Rigid) -> "Bone":
        """The same bone after a rigid motion."""
        return replace(
            self,
            parts=tuple(part.moved(by) for part in self.parts),
            voids=tuple(void.moved(by) for void in self.voids),
            deposits=tuple(deposit.moved(by) for deposit in self.deposits),
        )

    @property
    def shaft(self) -> Loft:
        """The bone's first loft: its shaft."""
        return next(part for part in self.parts if isinstance(part, Loft))


@dataclass(frozen=True, eq=False)
class Tissue:
    """Soft tissue (its shell is fat), air or metal."""

    segment: str
    solid: Solid

    def moved(self, by: Rigid) -> "Tissue":
        """The same tissue after a rigid motion."""
        return replace(self, solid=self.solid.moved(by))


@dataclass(frozen=True, eq=False)
class Joint:
    """Where two segments meet.

    `axis` points from the near to the far side, `side` across the joint; `half_width`, `half_depth` and `gap` are in
    mm; `moves` names the segments beyond it.
    """

    centre: Vector
    axis: Vector
    side: Vector
    half_width: float
    half_depth: float
    gap: float
    moves: frozenset[str]
    near: str = ""
    far: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything one exposure sees. `centre` is what the beam is aimed at; `size` the field (width, height) in mm."""

    bones: dict[str, Bone]
    soft: tuple[Tissue, ...]
    centre: Vector
    size: tuple[float, float]
    joints: dict[str, Joint] = field(default_factory=dict)
    air: tuple[Ellipsoid, ...] = ()
    metal: tuple[Tissue, ...] = ()

    def with_bone(self, bone: Bone) -> "Scene":
        """The scene with one bone replaced."""
        return replace(self, bones={**self.bones, bone.name: bone})

    def with_metal(self, *solids: Solid, segment: str = "") -> "Scene":
        """The scene with metal added."""
        return replace(self, metal=self.metal + tuple(Tissue(segment, solid) for solid in solids))

    def moving(self, segments: Collection[str], by: Rigid) -> "Scene":
        """The scene after a rigid motion of some of its segments."""
        return replace(
            self,
            bones={name: bone.moved(by) if bone.segment in segments else bone for name, bone in self.bones.items()},
            soft=tuple(part.moved(by) if part.segment in segments else part for part in self.soft),
            metal=tuple(part.moved(by) if part.segment in segments else part for part in self.metal),
        )
