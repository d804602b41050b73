"""Audit events: who did what to which study, and when."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from triage_agent.domain.vocabulary import AuditAction


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One thing that happened; `detail` holds JSON values and no patient name or identifier.

    Attributes:
        actor: AE title, worker, user or command that acted.
    """

    at: datetime
    action: AuditAction
    actor: str
    study_instance_uid: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
