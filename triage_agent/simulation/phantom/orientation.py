"""The words and codes DICOM has for the regions and views."""

from dataclasses import dataclass
from types import MappingProxyType

from pydicom.dataset import Dataset

_FRONTAL = frozenset({"AP", "PA"})
_FINGERS_UP = frozenset({"XR_HAND", "XR_FINGER", "XR_WRIST"})  # the back of the hand faces the tube


@dataclass(frozen=True, eq=False)
class RegionWords:
    """How one region is written: in descriptions, in Body Part Examined, and coded (PS3.16 CID 4009)."""

    spoken: str
    examined: str
    concept: tuple[str, str]

    @property
    def code(self) -> Dataset:
        """The region as an item of Anatomic Region Sequence."""
        return code(*self.concept)


_REGIONS = MappingProxyType(
    {
        "XR_ELBOW": RegionWords("Elbow", "ELBOW", ("16953009", "Elbow joint")),
        "XR_FINGER": RegionWords("Finger", "FINGER", ("7569003", "Finger")),
        "XR_FOREARM": RegionWords("Forearm", "FOREARM", ("14975008", "Forearm")),
        "XR_HAND": RegionWords("Hand", "HAND", ("85562004", "Hand")),
        "XR_HUMERUS": RegionWords("Humerus", "HUMERUS", ("85050009", "Humerus")),
        "XR_SHOULDER": RegionWords("Shoulder", "SHOULDER", ("16982005", "Shoulder")),
        "XR_WRIST": RegionWords("Wrist", "WRIST", ("74670003", "Wrist joint")),
        "XR_KNEE": RegionWords("Knee", "KNEE", ("72696002", "Knee")),
    }
)
# PS3.16 CID 4010.
_VIEWS = MappingProxyType(
    {
        "AP": ("399348003", "antero-posterior"),
        "PA": ("272479007", "postero-anterior"),
        "LL": ("399067008", "lateral"),
        "RL": ("399067008", "lateral"),
        "LLO": ("399182000", "oblique"),
        "RLO": ("399182000", "oblique"),
    }
)


def code(value: str, meaning: str) -> Dataset:
    """A SNOMED CT code as a sequence item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def region_words(anatomy: str) -> RegionWords:
    """How an anatomy is written in DICOM."""
    return _REGIONS[anatomy]


def view_code(position: str) -> Dataset:
    """The item of View Code Sequence for a View Position."""
    return code(*_VIEWS[position])


def patient_orientation(anatomy: str, position: str, laterality: str) -> list[str]:
    """Patient Orientation (PS3.3 C.7.6.1.1.1): where rows and columns run in the standing patient."""
    towards_tube = "P" if anatomy in _FINGERS_UP else "A"
    away = "A" if towards_tube == "P" else "P"
    turned = towards_tube if laterality == "R" else away  # a left limb's image is a right limb's mirrored
    if position in _FRONTAL:
        row = "L"
    elif position.endswith("O"):
        row = "L" + turned
    else:
        row = turned
    return [row, "H" if anatomy in _FINGERS_UP else "F"]
