"""What was decided, and what was known then: for trying other rules on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from triage_agent.domain.circumstances import Circumstances
from triage_agent.domain.decision import ModelIdentity
from triage_agent.domain.study import StoredInstance
from triage_agent.domain.vocabulary import Event, Finding, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRevision:
    """One decision as it was made.

    Attributes:
        known: of the study then; None where it was decided by a version that did not note it.
        routes: the destinations that it was for, empty for all; None where they were not noted.
        told: the destinations that results of the study had been queued for before.
    """

    revision: int
    event: Event
    finding: Finding
    probability: float | None
    priority: Priority
    acr_category: str | None
    rule: str
    status_reason: str
    model: ModelIdentity
    decided_at: datetime
    known: Circumstances | None
    routes: tuple[str, ...] | None = None
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedStudy:
    """A study with all its decisions, oldest first.

    Attributes:
        asked: what its headers and orders have asked for, and since when.
        known_now: of it today.
        lost: why an instance that was sent cannot be looked at; None where all can be.
        in_work: it is being scored again, so that its instances are not as they were.
    """

    study_instance_uid: str
    accession_number: str | None
    asked: tuple[tuple[datetime, Priority], ...]
    known_now: Circumstances
    lost: str | None
    in_work: bool
    instances: tuple[StoredInstance, ...]
    revisions: tuple[DecidedRevision, ...]


class Histories(Protocol):
    """The part of the worklist that remembers decisions."""

    def studies_decided_since(self, since: datetime) -> Sequence[str]:
        """UIDs of the studies of which a revision was decided since then, in the order of the last one."""

    def decided_study(self, study_instance_uid: str) -> DecidedStudy | None:
        """A study with its decisions; None where it has none."""
