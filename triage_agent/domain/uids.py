"""DICOM unique identifiers: recognising them and deriving ours."""

import re
import uuid

# PS3.5 section 9.1: digits and dots, at most 64 characters, no component with a leading zero.
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
_MAX_UID_LENGTH = 64
_NAMESPACE = uuid.UUID("7c4fd3a6-2a44-5d5e-9a0e-3f6c1f0c7b11")


def is_uid(text: str) -> bool:
    """Whether `text` is a valid UID (PS3.5 section 9.1)."""
    return len(text) <= _MAX_UID_LENGTH and _UID.fullmatch(text) is not None


def derive_uid(*parts: str) -> str:
    """The UID that always comes from the same parts (PS3.5 section B.2, a name-based UUID under 2.25).

    A resend after a crash is thereby the same object (promise 5).
    """
    name = "\x1f".join(parts)  # a separator that no part contains, so that no two lists of parts collide
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


IMPLEMENTATION_CLASS_UID = derive_uid("triage-agent", "implementation-class")
"""Identifies the software, the same whatever its version, in files and on the wire (PS3.7 section D.3.3.2)."""


def stand_in_series_uid(study_instance_uid: str) -> str:
    """The series of a study's instances that name none, or name it by what is no UID."""
    return derive_uid("series", study_instance_uid)
