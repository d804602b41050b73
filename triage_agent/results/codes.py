"""The coded concepts that reports use, each from PS3.16 unless said otherwise."""

from collections.abc import Mapping
from types import MappingProxyType

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from triage_agent.domain.uids import derive_uid
from triage_agent.domain.vocabulary import Finding, Priority

# No standard concept asks "which actionable finding category?"; CID 7035 has only the answers.
SITE_SCHEME = "99TRIAGE"
SITE_SCHEME_UID = derive_uid("coding scheme", SITE_SCHEME)
SITE_SCHEME_NAME = "triage-agent concepts"
ACTIONABLE_FINDING = Code("ACTIONABLE", SITE_SCHEME, "Actionable finding classification")

IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
PROBABILITY: Code = codes.DCM.Probability
NORMALITY: Code = codes.DCM.Normality
DERIVED_AS_MEAN: Code = codes.SCT.Mean
NO_UNITS: Code = codes.UCUM.NoUnits
PRIORITY = Code("260870009", "SCT", "Priority")
SUMMARY: Code = codes.DCM.CADProcessingAndFindingsSummary
COMMENT: Code = codes.DCM.Comment
# TID 1500 row 12.
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
ARTIFICIAL_INTELLIGENCE: Code = codes.DCM.ArtificialIntelligence
PROCESSING_EQUIPMENT: Code = codes.DCM.ProcessingEquipment

_UNDETERMINED = Code("371934000", "SCT", "Normality Undetermined")

# Values of (121402, DCM, "Normality"), CID 222 Normality Codes.
NORMALITIES: Mapping[Finding, Code] = MappingProxyType(
    {
        Finding.ABNORMAL: Code("263654008", "SCT", "Abnormal"),
        Finding.NORMAL: Code("17621005", "SCT", "Normal"),
        Finding.UNCERTAIN: _UNDETERMINED,
        Finding.NOT_ASSESSED: _UNDETERMINED,
    }
)

# CID 3414 Procedure Urgency, which has no code for routine.
URGENCIES: Mapping[Priority, Code] = MappingProxyType(
    {
        Priority.URGENT: Code("103391001", "SCT", "Urgent Procedure"),
        Priority.STAT: Code("25876001", "SCT", "Emergent Procedure"),
    }
)

# CID 7035 Actionable Finding Classification.
ACR_CATEGORIES: Mapping[str, Code] = MappingProxyType(
    {
        "1": Code("RID49480", "RADLEX", "ACR Category 1 Actionable Finding"),
        "2": Code("RID49481", "RADLEX", "ACR Category 2 Actionable Finding"),
        "3": Code("RID49482", "RADLEX", "ACR Category 3 Actionable Finding"),
    }
)

# CID 244 Laterality, by Image Laterality (0020,0062) and Laterality (0020,0060).
LATERALITIES: Mapping[str, Code] = MappingProxyType(
    {
        "R": Code("24028007", "SCT", "Right"),
        "L": Code("7771000", "SCT", "Left"),
        "B": Code("51440002", "SCT", "Bilateral"),
    }
)

# CID 4031 Common Anatomic Regions, by the region's name (MURA's spelling).
REGIONS: Mapping[str, Code] = MappingProxyType(
    {
        "XR_ANKLE": Code("70258002", "SCT", "Ankle joint"),
        "XR_CERVICAL_SPINE": Code("122494005", "SCT", "Cervical spine"),
        "XR_CLAVICLE": Code("51299004", "SCT", "Clavicle"),
        "XR_ELBOW": Code("16953009", "SCT", "Elbow joint"),
        "XR_FEMUR": Code("71341001", "SCT", "Femur"),
        "XR_FINGER": Code("7569003", "SCT", "Finger"),
        "XR_FOOT": Code("56459004", "SCT", "Foot"),
        "XR_FOREARM": Code("14975008", "SCT", "Forearm"),
        "XR_HAND": Code("85562004", "SCT", "Hand"),
        "XR_HIP": Code("29836001", "SCT", "Hip"),
        "XR_HUMERUS": Code("85050009", "SCT", "Humerus"),
        "XR_KNEE": Code("72696002", "SCT", "Knee"),
        "XR_LOWER_LEG": Code("30021000", "SCT", "Lower leg"),
        "XR_LUMBAR_SPINE": Code("122496007", "SCT", "Lumbar spine"),
        "XR_PELVIS": Code("816092008", "SCT", "Pelvis"),
        "XR_RIBS": Code("113197003", "SCT", "Rib"),
        "XR_SACRUM": Code("54735007", "SCT", "Sacrum"),
        "XR_SCAPULA": Code("79601000", "SCT", "Scapula"),
        "XR_SHOULDER": Code("16982005", "SCT", "Shoulder"),
        "XR_SPINE": Code("421060004", "SCT", "Spine"),
        "XR_STERNUM": Code("56873002", "SCT", "Sternum"),
        "XR_THORACIC_SPINE": Code("122495006", "SCT", "Thoracic spine"),
        "XR_THUMB": Code("76505004", "SCT", "Thumb"),
        "XR_TOE": Code("29707007", "SCT", "Toe"),
        "XR_WRIST": Code("74670003", "SCT", "Wrist joint"),
    }
)
