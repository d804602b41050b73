"""What differs between versions of HL7 v2, as far as our messages are concerned (chapters 2, 4 and 7 of each)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from triage_agent.domain.hl7_form import Hl7Charset, Hl7Version
from triage_agent.domain.vocabulary import ArtifactKind


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionFacts:
    """One version.

    Attributes:
        longest: the number of the last field of each segment that it has; later ones are not sent.
        coded: the data type of a coded observation, OBX-2; only CWE has room for original text.
        names_structure: whether MSH-9 has a third component.
        kinds: the messages that it has.
    """

    longest: Mapping[str, int]
    coded: str
    names_structure: bool = True
    kinds: frozenset[ArtifactKind]

    @property
    def has_tq1(self) -> bool:
        """Whether a priority stands in TQ1-9; before that it is the sixth component of Quantity/Timing."""
        return "TQ1" in self.longest


_ORU, _ORM, _OMI = ArtifactKind.HL7_ORU, ArtifactKind.HL7_ORM, ArtifactKind.HL7_OMI
_OLD, _BOTH = frozenset({_ORU, _ORM}), frozenset({_ORU, _ORM, _OMI})
_FIRST = {"MSH": 19, "PID": 30, "PV1": 52, "ORC": 19, "OBR": 43, "OBX": 17, "NTE": 3, "ZDS": 1}
_V231 = _FIRST | {"MSH": 20, "ORC": 24, "OBR": 45, "NTE": 4}
_V24 = _V231 | {"MSH": 21, "PID": 38, "ORC": 25, "OBR": 47, "OBX": 19}
_V25 = _V24 | {"PID": 39, "ORC": 30, "OBR": 49, "TQ1": 14, "IPC": 9}
_V251 = _V25 | {"ORC": 31, "OBR": 50, "OBX": 25}
_V26 = _V251 | {"MSH": 25}


def _facts(
    longest: Mapping[str, int], coded: str, kinds: frozenset[ArtifactKind], *, names_structure: bool = True
) -> VersionFacts:
    return VersionFacts(
        longest=MappingProxyType(dict(longest)),
        coded=coded,
        names_structure=names_structure,
        kinds=kinds,
    )


# OMI^O23 came with 2.5; ORM^O01 went with 2.7, which is not here.
VERSIONS: Mapping[Hl7Version, VersionFacts] = MappingProxyType(
    {
        "2.3": _facts(_FIRST, "CE", _OLD, names_structure=False),
        "2.3.1": _facts(_V231, "CE", _OLD),
        "2.4": _facts(_V24, "CE", _OLD),
        "2.5": _facts(_V25, "CE", _BOTH),
        "2.5.1": _facts(_V251, "CWE", _BOTH),
        "2.6": _facts(_V26, "CWE", _BOTH),
    }
)

# Table 0211 to Python's codecs.
CODECS: Mapping[Hl7Charset, str] = MappingProxyType(
    {
        "ASCII": "ascii",
        "8859/1": "iso8859_1",
        "8859/2": "iso8859_2",
        "8859/3": "iso8859_3",
        "8859/4": "iso8859_4",
        "8859/5": "iso8859_5",
        "8859/6": "iso8859_6",
        "8859/7": "iso8859_7",
        "8859/8": "iso8859_8",
        "8859/9": "iso8859_9",
        "8859/15": "iso8859_15",
        "KS X 1001": "euc_kr",
        "UNICODE UTF-8": "utf_8",
    }
)
