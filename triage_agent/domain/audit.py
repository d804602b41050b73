"""Audit events: who did what to which study, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """An event as it is kept."""

    number: int
    event: AuditEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuestion:
    """Which records somebody wants to see, newest first; None and "" ask for any.

    Attributes:
        before: only records with a lower number, for the next page.
    """

    limit: int = 100
    before: int | None = None
    study_instance_uid: str = ""
    actor: str = ""
    action: AuditAction | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditTrail(Protocol):
    """Reads what was audited."""

    def records(self, question: AuditQuestion) -> Sequence[AuditRecord]:
        """The records asked for.

        Raises:
            WorklistUnavailableError: the database is away.
        """
