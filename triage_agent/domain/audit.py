"""Audit events: who did what to which study, and when."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from triage_agent.domain.vocabulary import AuditAction

TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
"""How records and seals have their times: UTC, to the microsecond."""


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
    """One audit event with the values that its row has, as they are: whoever changed them may have put in anything.

    Attributes:
        at: `TIME_FORMAT`.
        detail: the JSON text.
    """

    id: int
    at: object
    action: object
    actor: object
    study_instance_uid: object
    detail: object

    @property
    def event(self) -> AuditEvent:
        """The same as the domain's value.

        Raises:
            ValueError: the agent did not write this.
        """
        detail = json.loads(str(self.detail))
        if not isinstance(detail, dict):
            raise ValueError("the detail of an audit record is no table")  # noqa: TRY004 - as for every wrong content
        return AuditEvent(
            at=datetime.strptime(str(self.at), TIME_FORMAT).replace(tzinfo=UTC),
            action=AuditAction(str(self.action)),
            actor=str(self.actor),
            study_instance_uid=None if self.study_instance_uid is None else str(self.study_instance_uid),
            detail=detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuestion:
    """Which records somebody wants to see; None, "" and an empty set ask for any.

    Attributes:
        limit: so many at most; None for all.
        before: only records that stand before the one with this id, for the next page.
        studies: of any of these; () asks for none at all.
        actor: this one, as it is written here or in lower or upper case: accounts are lower, most AE titles upper.
        actions: any of these, of which `action` is one more.
        since: by the records' own time.
        until: up to then, which is not included.
    """

    limit: int | None = 100
    before: int | None = None
    study_instance_uid: str = ""
    studies: tuple[str, ...] | None = None
    actor: str = ""
    action: AuditAction | None = None
    actions: frozenset[AuditAction] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    @property
    def wanted_studies(self) -> tuple[str, ...] | None:
        """Those that records must be of; None for any, or none."""
        if not self.study_instance_uid:
            return self.studies
        own = self.study_instance_uid
        return (own,) if self.studies is None or own in self.studies else ()

    @property
    def actors(self) -> tuple[str, ...]:
        """Whoever `actor` may be."""
        return tuple(dict.fromkeys((self.actor, self.actor.lower(), self.actor.upper())))

    @property
    def wanted_actions(self) -> frozenset[AuditAction]:
        """Those that are asked for; empty for any."""
        return self.actions | ({self.action} if self.action is not None else set())


class AuditTrail(Protocol):
    """Reads what was audited, in the order of its times. Every method raises `WorklistUnavailableError`."""

    def records(self, question: AuditQuestion) -> Sequence[AuditRecord]:
        """The records asked for, newest first."""
        ...

    def walk(self, question: AuditQuestion) -> Iterator[AuditRecord]:
        """The same, oldest first, in pieces: a long reader holds nothing, and `before` says nothing."""
        ...

    def latest(self, limit: int) -> Sequence[AuditRecord]:
        """The last records that were written, whatever their times; oldest first."""
        ...

    def studies_of_patient(self, text: str, most: int) -> Sequence[str]:
        """At most so many studies of patients with this identifier, or a name that begins so, as searches have them."""
        ...

    def patients(self, studies: Collection[str]) -> Mapping[str, tuple[str, str]]:
        """The Patient ID and name of those of the studies that are here and have an ID."""
        ...
