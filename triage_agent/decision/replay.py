"""What other rules would have made of studies that have been decided. Pure: no model is asked, nothing is written.

A study's decisions are made once more, revision by revision, from the assessments that were kept and from what was
known then. What the first rules raised is left out of it, what headers and orders asked for is not: so rules that
raise less are seen to, and the same rules change nothing. A raise by a single image needs no replay of its own, since
the decision raises by it, too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from triage_agent.decision.policy import decide, of_several_patients
from triage_agent.decision.reasons import several_patients
from triage_agent.decision.rules import Policy
from triage_agent.domain.decision import Decision
from triage_agent.domain.history import DecidedRevision, DecidedStudy
from triage_agent.domain.study import ClaimedStudy
from triage_agent.domain.vocabulary import Event, Finding, Priority


class Effect(StrEnum):
    """What other rules do to a study."""

    RAISED = "raised"
    LOWERED = "lowered"  # would have been: what stands on the worklist is never lowered
    OTHERWISE = "otherwise"  # the same priority by another rule, with another category, or to other destinations
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a decision says that rules decide.

    Attributes:
        routes: the destinations that it is for, empty for all; None where they were not noted.
    """

    rule: str
    priority: Priority
    acr_category: str | None
    rule_is_for: str = ""
    routes: tuple[str, ...] | None = ()

    def differs_from(self, other: "Result") -> bool:
        """Whether anything is not as there, as far as both were noted."""
        if self.routes is not None and other.routes is not None and set(self.routes) != set(other.routes):
            return True
        return (self.rule, self.priority, self.acr_category) != (other.rule, other.priority, other.acr_category)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One study's last decision, before and after.

    Attributes:
        facts_of_today: what was known then was not noted; what is known now stands for it.
    """

    study_instance_uid: str
    accession_number: str | None
    revision: int
    decided_at: datetime
    finding: Finding
    probability: float | None
    before: Result
    after: Result
    facts_of_today: bool

    @property
    def effect(self) -> Effect:
        """What the other rules do to it."""
        if self.after.priority.rank != self.before.priority.rank:
            return Effect.RAISED if self.after.priority.rank > self.before.priority.rank else Effect.LOWERED
        return Effect.OTHERWISE if self.after.differs_from(self.before) else Effect.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How many studies fared how, and which rule fired how often before and after, by name."""

    studies: int
    effects: dict[Effect, int]
    rules: dict[str, tuple[int, int]]
    facts_of_today: int


def replay(study: DecidedStudy, policy: Policy) -> Replayed | None:
    """A study under other rules; None where nothing can be said: it is out of scope, or being scored again."""
    last = study.revisions[-1]
    if study.in_work or last.event is Event.EXCLUDED:
        return None
    priority, again = Priority.ROUTINE, None
    for one in study.revisions:
        again = _decided_again(study, one, priority, policy)
        priority = priority.raised_to(again.priority)
    if again is None:
        return None
    return Replayed(
        study_instance_uid=study.study_instance_uid,
        accession_number=study.accession_number,
        revision=last.revision,
        decided_at=last.decided_at,
        finding=last.finding,
        probability=last.probability,
        before=Result(rule=last.rule, priority=last.priority, acr_category=last.acr_category, routes=last.routes),
        after=Result(
            rule=again.rule,
            priority=again.priority,
            acr_category=again.acr_category,
            rule_is_for=again.why,
            routes=again.routes,
        ),
        facts_of_today=last.known is None,
    )


def summary_of(replayed: Sequence[Replayed]) -> Summary:
    """All of them in figures."""
    effects = Counter(one.effect for one in replayed)
    before, after = Counter(one.before.rule for one in replayed), Counter(one.after.rule for one in replayed)
    return Summary(
        studies=len(replayed),
        effects={effect: effects[effect] for effect in Effect},
        rules={name: (before[name], after[name]) for name in sorted({*before, *after})},
        facts_of_today=sum(one.facts_of_today for one in replayed),
    )


def _decided_again(study: DecidedStudy, one: DecidedRevision, priority: Priority, policy: Policy) -> Decision:
    for since, wanted in study.asked:
        if since <= one.decided_at:
            priority = priority.raised_to(wanted)
    instances = tuple(
        replace(each, original_deleted_at=None)
        if each.original_deleted_at and each.original_deleted_at > one.decided_at
        else each
        for each in study.instances
        if each.received_at <= one.decided_at
    )
    claimed = ClaimedStudy(
        study_instance_uid=study.study_instance_uid,
        revision=one.revision,
        priority=priority,
        attempt=1,
        instances=instances,
        lost=study.lost,
        known=one.known or study.known_now,
        told=one.told,
    )
    assessments = [each.assessment for each in instances if each.assessment is not None]
    again = decide(claimed, assessments, one.model, policy, one.decided_at)
    # Whom the images name is in them alone: what was found then holds.
    return of_several_patients(again) if one.status_reason == several_patients() else again
