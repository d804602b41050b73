"""One simulated study: a patient, perhaps an abnormality, and its views."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from triage_agent.simulation.phantom import acquisition, knee, upper_limb_end, upper_limb_middle, upper_limb_root
from triage_agent.simulation.phantom.acquisition import Framing, Habits
from triage_agent.simulation.phantom.body import Body, draw_body
from triage_agent.simulation.phantom.camera import Camera
from triage_agent.simulation.phantom.lesions import NO_ABNORMALITY, Plan, afflict, draw_plan
from triage_agent.simulation.phantom.physics import detect, transmission
from triage_agent.simulation.phantom.projection import project
from triage_agent.simulation.phantom.region import Look, Region
from triage_agent.simulation.phantom.rigid import Vector, X, Y, Z, rotation_about
from triage_agent.simulation.phantom.scene import Scene

REGIONS: dict[str, Region] = {
    "XR_ELBOW": upper_limb_middle.ELBOW,
    "XR_FINGER": upper_limb_end.FINGER,
    "XR_FOREARM": upper_limb_middle.FOREARM,
    "XR_HAND": upper_limb_end.HAND,
    "XR_HUMERUS": upper_limb_root.HUMERUS,
    "XR_SHOULDER": upper_limb_root.SHOULDER,
    "XR_WRIST": upper_limb_end.WRIST,
    "XR_KNEE": knee.KNEE,
}
ANATOMIES: tuple[str, ...] = tuple(REGIONS)
MAX_VALUE = 4095  # 12 bits

_ALL_VIEWS = 0.6  # how often the views that are not routine are taken
_BOX_MARGIN_MM = 3.0
_SMALLEST_IMAGE = 64
_BACKGROUND, _BRIGHTEST = 60.0, 99.6  # percentiles
_FLOOR = 0.03
_MIN_BOX_SHARE = 0.3
_SHUTTER_EDGE = 0.97


@dataclass(frozen=True, eq=False)
class PhantomView:
    """One radiograph.

    Attributes:
        position: DICOM View Position.
        pixels: H x W, 12 bit, high where the beam was attenuated (bone is bright).
        pixel_spacing_mm: At the detector, rows and columns alike.
        lesion_box: Where the abnormality projects, x0, y0, x1, y1 in pixels; None where there is none in view.
        window: Centre and width for display.
    """

    position: str
    pixels: NDArray[np.uint16]
    pixel_spacing_mm: float
    lesion_box: tuple[int, int, int, int] | None
    window: tuple[float, float]


@dataclass(frozen=True, eq=False)
class PhantomStudy:
    """One patient's views, with the truth about them. `subtlety` is 0 for obvious, 1 for hardest to see."""

    anatomy: str
    abnormal: bool
    kind: str
    subtlety: float
    laterality: str
    age: int
    sex: str
    views: tuple[PhantomView, ...]


def simulate_study(anatomy: str, abnormal: bool, seed: int, long_side: int = 1024) -> PhantomStudy:
    """A simulated study, always the same for the same arguments.

    A normal and an abnormal study of one seed are the same patient in the same room.

    Args:
        anatomy: One of ANATOMIES.
        abnormal: Whether something is wrong.
        seed: Any non-negative number.
        long_side: Of the images, in pixels.

    Raises:
        ValueError: The anatomy is unknown or the image too small.
    """
    return simulate_kind(anatomy, None if abnormal else NO_ABNORMALITY, seed, long_side)


def simulate_kind(anatomy: str, kind: str | None, seed: int, long_side: int = 1024) -> PhantomStudy:
    """A study with one `kind` of abnormality (`lesions.KINDS`), with none, or with a random one where None."""
    if anatomy not in REGIONS:
        raise ValueError(f"unknown anatomy {anatomy!r}: use one of {', '.join(ANATOMIES)}")
    if long_side < _SMALLEST_IMAGE:
        raise ValueError(f"a long side of {long_side} pixels is too small: use {_SMALLEST_IMAGE} or more")
    region = REGIONS[anatomy]
    streams = np.random.SeedSequence([ANATOMIES.index(anatomy), seed]).spawn(4)
    of_patient, of_room, of_lesion, of_pose = (np.random.default_rng(stream) for stream in streams)
    body = draw_body(of_patient)
    habits = acquisition.draw_habits(of_room)
    looks = _looks(region, of_room)
    plan = None
    if kind != NO_ABNORMALITY:
        plan = draw_plan(region, region.build(body, looks[0], np.random.default_rng(0)), of_lesion, kind)
    views = []
    for look, pose, room in zip(looks, of_pose.spawn(len(looks)), of_room.spawn(len(looks)), strict=True):
        shot = _Shot(body, habits, look, plan, long_side)
        views.append(shot.take(region, pose, room))
    return PhantomStudy(
        anatomy=anatomy,
        abnormal=plan is not None,
        kind=plan.kind if plan else NO_ABNORMALITY,
        subtlety=plan.subtlety if plan else 0.0,
        laterality=body.laterality,
        age=body.age,
        sex=body.sex,
        views=tuple(views),
    )


def _looks(region: Region, rng: np.random.Generator) -> list[Look]:
    takes_all = rng.random() < _ALL_VIEWS
    return [look for look in region.looks if look.routine or takes_all]


@dataclass(frozen=True, eq=False)
class _Shot:
    """One exposure to be made."""

    body: Body
    habits: Habits
    look: Look
    plan: Plan | None
    long_side: int

    def take(self, region: Region, pose: np.random.Generator, room: np.random.Generator) -> PhantomView:
        scene = region.build(self.body, self.look, pose)
        points: list[Vector] = []
        if self.plan is not None:
            scene, points = afflict(scene, self.plan, region)
        framing = acquisition.widened(self.habits, acquisition.draw_framing(self.habits, room))
        camera = self._camera(scene, framing)
        lit = acquisition.beam(camera.shape, camera.pitch, framing)
        paths = project(scene, camera)
        cloth = acquisition.dressing(camera.shape, camera.pitch, framing, room)
        if cloth is not None:
            paths.soft[...] += cloth
        primary = transmission(paths)
        acquisition.add_letter(primary, self.habits, framing, self.body.laterality)
        seen = detect(primary, lit, camera.pitch, self.habits.exposure, room)
        pixels, window = _digitised(seen, lit, self.habits)
        return PhantomView(
            position=self.look.position.format(self.body.laterality),
            pixels=pixels,
            pixel_spacing_mm=camera.pitch,
            lesion_box=_box(points, camera),
            window=window,
        )

    def _camera(self, scene: Scene, framing: Framing) -> Camera:
        mirror = np.diag([-1.0 if self.body.laterality == "L" else 1.0, 1.0, 1.0])
        matrix = rotation_about(Z, framing.spin) @ mirror @ rotation_about(X, framing.tilt[0])
        matrix = matrix @ rotation_about(Y, self.look.turn + framing.tilt[1])
        width, height = (side * framing.zoom for side in scene.size)
        pitch = max(width, height) / self.long_side
        shape = (max(round(height / pitch), _SMALLEST_IMAGE // 2), max(round(width / pitch), _SMALLEST_IMAGE // 2))
        offset = np.array([framing.offset[0] * width, framing.offset[1] * height])
        return Camera(matrix, (matrix @ scene.centre)[:2] + offset, pitch, shape)


def _digitised(
    seen: NDArray[np.float32], lit: NDArray[np.float32], habits: Habits
) -> tuple[NDArray[np.uint16], tuple[float, float]]:
    """12-bit pixels linear in log exposure, ranged on what the beam hit, and a display window."""
    inside = seen[::4, ::4][lit[::4, ::4] > 0.5]  # noqa: PLR2004 - more than half lit
    low, high = (float(value) for value in np.percentile(inside, (1.0, _BRIGHTEST)))
    scale = habits.latitude * MAX_VALUE / max(high - low, 0.2)
    pixels = np.clip((seen - low) * np.float32(scale) + np.float32(_FLOOR * MAX_VALUE), 0, MAX_VALUE)
    if habits.shutter == acquisition.SHUTTER_BLACK:
        pixels *= lit > _SHUTTER_EDGE
    bottom, top = _FLOOR * MAX_VALUE * 0.6, (_FLOOR + habits.latitude) * MAX_VALUE * 1.02
    return pixels.astype(np.uint16), ((bottom + top) / 2, top - bottom)


def _box(points: list[Vector], camera: Camera) -> tuple[int, int, int, int] | None:
    """The image box around body points, or None where too little of it is in the image."""
    if not points:
        return None
    placed = np.array([camera.pixel(point) for point in points])
    margin = _BOX_MARGIN_MM / camera.pitch
    low, high = placed.min(axis=0) - margin, placed.max(axis=0) + margin
    limit = np.array([camera.shape[1], camera.shape[0]])
    first, last = np.clip(low, 0, limit), np.clip(high, 0, limit)
    if float(np.prod(last - first)) < _MIN_BOX_SHARE * float(np.prod(high - low)):
        return None
    x0, y0, x1, y1 = (int(value) for value in (*np.floor(first), *np.ceil(last)))
    return x0, y0, x1, y1
