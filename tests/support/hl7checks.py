"""HL7 v2 messages looked at by hl7apy, which knows the structures and fields of each version from HL7's own schemas."""

import re

from hl7apy.parser import parse_message

# What hl7apy 1.3.5 has against every message of its kind. OBX-4 is conditional, for observations that occur more than
# once (chapter 7.4.2.4); ORC-7 and OBR-27 are optional for results (2.3, chapters 4 and 7); of a choice it wants each.
_NOT_A_FAULT = re.compile(
    r"Missing required child (OBX\.OBX_4|ORC\.ORC_7|OBR\.OBR_27|ORM_O01_\w+\.(RQD|RQ1|RXO|ODS|ODT))"
)


def parsed(body, charset="utf-8"):
    """A message as hl7apy reads it, in the groups that its structure has."""
    return parse_message(body.decode(charset), find_groups=True)


def faults(body, report, charset="utf-8"):
    """What hl7apy has against a message: wrong structure, unknown fields and components, missing required ones."""
    message = parsed(body, charset)
    try:
        message.validate(report_file=str(report))
    except Exception as error:  # noqa: BLE001 - each of its errors is a finding
        found = [line for line in report.read_text().splitlines() if line.startswith("Error")]
        return [one for one in found or [f"Error: {error}"] if not _NOT_A_FAULT.search(one)]
    return []
