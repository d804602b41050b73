"""What HL7 calls the fields that we write or read (v2.6, for ERR-1 and those that it withdrew v2.5.1 and v2.3)."""

from collections.abc import Mapping
from types import MappingProxyType

FIELDS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "ERR": {
            1: "Error Code and Location",
            3: "HL7 Error Code",
            4: "Severity",
        },
        "IPC": {
            1: "Accession Identifier",
            2: "Requested Procedure ID",
            3: "Study Instance UID",
            4: "Scheduled Procedure Step ID",
            5: "Modality",
            7: "Scheduled Station Name",
            9: "Scheduled Station AE Title",
        },
        "MRG": {
            1: "Prior Patient Identifier List",
        },
        "MSA": {
            1: "Acknowledgment Code",
            2: "Message Control ID",
        },
        "MSH": {
            1: "Field Separator",
            2: "Encoding Characters",
            3: "Sending Application",
            4: "Sending Facility",
            5: "Receiving Application",
            6: "Receiving Facility",
            7: "Date Time of Message",
            9: "Message Type",
            10: "Message Control ID",
            11: "Processing ID",
            12: "Version ID",
            15: "Accept Acknowledgment Type",
            16: "Application Acknowledgment Type",
            18: "Character Set",
        },
        "NTE": {
            1: "Set ID NTE",
            3: "Comment",
        },
        "OBR": {
            1: "Set ID OBR",
            2: "Placer Order Number",
            3: "Filler Order Number",
            4: "Universal Service Identifier",
            5: "Priority",
            7: "Observation Date Time",
            13: "Relevant Clinical Information",
            16: "Ordering Provider",
            18: "Placer Field 1",
            19: "Placer Field 2",
            20: "Filler Field 1",
            21: "Filler Field 2",
            22: "Results Rpt Status Chng Date Time",
            24: "Diagnostic Serv Sect ID",
            25: "Result Status",
            27: "Quantity Timing",
            31: "Reason For Study",
            36: "Scheduled Date Time",
            44: "Procedure Code",
        },
        "OBX": {
            1: "Set ID OBX",
            2: "Value Type",
            3: "Observation Identifier",
            5: "Observation Value",
            8: "Abnormal Flags",
            11: "Observation Result Status",
            14: "Date Time of the Observation",
            18: "Equipment Instance Identifier",
        },
        "ORC": {
            1: "Order Control",
            2: "Placer Order Number",
            3: "Filler Order Number",
            5: "Order Status",
            7: "Quantity Timing",
            9: "Date Time of Transaction",
            12: "Ordering Provider",
            16: "Order Control Code Reason",
        },
        "PID": {
            1: "Set ID PID",
            2: "Patient ID",
            3: "Patient Identifier List",
            5: "Patient Name",
            7: "Date Time of Birth",
            8: "Administrative Sex",
            18: "Patient Account Number",
        },
        "PV1": {
            2: "Patient Class",
            3: "Assigned Patient Location",
            8: "Referring Doctor",
            19: "Visit Number",
        },
        "TQ1": {
            1: "Set ID TQ1",
            7: "Start Date Time",
            9: "Priority",
        },
        "ZDS": {
            1: "Study Instance UID (IHE Radiology)",
        },
    }
)


def named(segment: str, fields: "tuple[int, ...]") -> str:
    """Fields with their names, in one line."""
    known = FIELDS.get(segment, {})
    return ", ".join(f"{segment}-{number} {known.get(number, '')}".rstrip() for number in fields)
