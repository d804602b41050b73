"""The chain of hashes over audit records. Pure.

A seal's head is SHA-256 over the head before it, the seal's own values and the record's, so that whoever changes,
removes, adds or moves a record has to make every later head anew; that is what anchors (`anchors`) find.
"""

import hashlib
import json

from triage_agent.domain.audit import AuditRecord
from triage_agent.domain.audit_log import Seal

_VERSION = "triage-agent audit 1"


def link(seal: Seal, record: AuditRecord, before: str) -> str:
    """The head of `seal` over `record` after the head `before`: 64 hexadecimal digits.

    JSON is the frame, so that no two different lists of values are one text; a value of a type that the agent never
    writes (SQLite takes any in any column) has its type in it.
    """
    values = [
        _VERSION,
        before,
        seal.position,
        seal.floor,
        seal.sealed_at,
        seal.record_id,
        record.id,
        record.at,
        record.action,
        record.actor,
        record.study_instance_uid,
        record.detail,
    ]
    return hashlib.sha256(_framed(values).encode()).hexdigest()


def _foreign(value: object) -> list[str]:
    return [type(value).__name__, repr(value)]


_framed = json.JSONEncoder(default=_foreign, separators=(",", ":")).encode  # made once: a million records are looked at
