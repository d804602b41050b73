"""Made-up people and X-ray rooms: what a data set says besides its pixels, drawn without a look at the truth."""

from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
from pydicom.dataset import Dataset

_FAMILY_NAMES = ("Phantom", "Specimen", "Simulacrum", "Testcase", "Mannequin", "Dummy", "Figment", "Placeholder")
_GIVEN_NAMES = MappingProxyType(
    {
        "F": ("Ada", "Beatrix", "Cleo", "Dagny", "Elke", "Frida", "Gudrun", "Hedda", "Iris", "Juno"),
        "M": ("Aldo", "Bruno", "Cato", "Dirk", "Egon", "Falk", "Gustav", "Hugo", "Ivo", "Jasper"),
    }
)
_DAYS_A_YEAR = 365.25
_CR_SHARE, _INVERTED_SHARE = 0.3, 0.4
# kV, mAs, grid: what one would set for an adult
_TECHNIQUE = MappingProxyType(
    {
        "XR_FINGER": (50, 1.6, False),
        "XR_HAND": (52, 2.0, False),
        "XR_WRIST": (54, 2.5, False),
        "XR_FOREARM": (56, 3.2, False),
        "XR_ELBOW": (58, 3.6, False),
        "XR_HUMERUS": (64, 6.0, False),
        "XR_SHOULDER": (70, 10.0, True),
        "XR_KNEE": (64, 6.3, True),
    }
)


@dataclass(frozen=True)
class Person:
    """A patient who does not exist, and the order."""

    name: str
    patient_id: str
    born: date
    accession: str
    referrer: str


@dataclass(frozen=True)
class Device:
    """An X-ray room that does not exist. `is_inverted` rooms write MONOCHROME1."""

    manufacturer: str
    model: str
    serial: str
    software: str
    station: str
    is_digital: bool
    is_inverted: bool
    detector: str
    dose: float
    distance_mm: int


_MAKERS = (
    ("PHANTOM Roentgen Works", "Lumen 3", "3.2.1"),
    ("PHANTOM Imaging AG", "Klarblick DR", "VB20A"),
    ("PHANTOM Medical KK", "Kage-7", "7.04"),
    ("PHANTOM Radiography Ltd", "Penumbra X", "11.0.2"),
    ("PHANTOM Systemes SA", "Ombre 500", "5.9"),
)


def draw_person(rng: np.random.Generator, age: int, sex: str, today: date) -> Person:
    """A random person of the given age and sex, with a name that nobody bears."""
    family = str(rng.choice(_FAMILY_NAMES))
    given = str(rng.choice(_GIVEN_NAMES[sex]))
    days = age * _DAYS_A_YEAR + float(rng.uniform(1.0, 364.0))
    return Person(
        name=f"{family}^{given}",
        patient_id=f"PH{rng.integers(10**8):08d}",
        born=today - timedelta(days=int(days)),
        accession=f"PA{rng.integers(10**10):010d}",
        referrer=f"Referrer^{rng.choice(_FAMILY_NAMES)}",
    )


def draw_device(rng: np.random.Generator) -> Device:
    """A random room."""
    maker, model, software = _MAKERS[int(rng.integers(len(_MAKERS)))]
    is_digital = bool(rng.random() >= _CR_SHARE)
    return Device(
        manufacturer=maker,
        model=model if is_digital else f"{model} CR",
        serial=f"{rng.integers(10**8):08d}",
        software=software,
        station=f"XR{rng.integers(1, 20):02d}",
        is_digital=is_digital,
        is_inverted=bool(rng.random() < _INVERTED_SHARE),
        detector=str(rng.choice(["SCINTILLATOR", "DIRECT"], p=[0.8, 0.2])),
        dose=float(rng.uniform(0.8, 1.3)),
        distance_mm=int(rng.choice([1000, 1050, 1100, 1150])),
    )


def add_exposure(dataset: Dataset, anatomy: str, device: Device, *, sequence_number: int) -> None:
    """Tube settings and exposure index; later views of a study take a little more."""
    voltage, charge, has_grid = _TECHNIQUE[anatomy]
    charge *= device.dose * (1.0 + 0.15 * sequence_number)
    dataset.KVP = voltage
    dataset.Exposure = max(round(charge), 1)
    dataset.ExposureInuAs = round(charge * 1000)
    dataset.XRayTubeCurrent = 200
    dataset.ExposureTime = max(round(charge / 200 * 1000), 1)
    dataset.DistanceSourceToDetector = device.distance_mm
    if device.is_digital:
        dataset.Grid = ["FIXED"] if has_grid else ["NONE"]
    dataset.ExposureIndex = f"{300 * device.dose:.0f}"
    dataset.TargetExposureIndex = "300"
