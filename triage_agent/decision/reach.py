"""Which rules of a policy can ever fire. Pure.

What is said is certain, and not everything is found: a rule that only several earlier ones together leave nothing to is
not told of.
"""

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import time

from triage_agent.decision.rules import Condition, Hours, Policy, Rule, is_at
from triage_agent.domain.vocabulary import Finding, Priority

_MINUTES = tuple(time(minute // 60, minute % 60) for minute in range(24 * 60))


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is probably not meant.

    Attributes:
        number: the rule's, from 0; None where it is of all together.
        is_mistake: nobody can mean it.
    """

    number: int | None
    what: str
    remedy: str
    is_mistake: bool = False


def doubts(policy: Policy, regions: Collection[str]) -> tuple[Doubt, ...]:
    """What is probably not meant in a policy; `regions` are those that an image can show."""
    found = [_unknown_region(number, rule, regions) for number, rule in enumerate(policy.rules)]
    for rule, before in shadowed(policy):
        said = f"rule {rule.name!r} never fires: {before.name!r}, which stands before it, fires wherever it would"
        found.append(Doubt(policy.rules.index(rule), said, "put it before that one, or take it out"))
    if raises_nothing(policy):
        said = "no rule raises anything: no study is read earlier than it would be anyway"
        found.append(Doubt(None, said, 'give a rule priority = "urgent", or take all out for the built-in ones'))
    return tuple(doubt for doubt in found if doubt is not None)


def _unknown_region(number: int, rule: Rule, regions: Collection[str]) -> Doubt | None:
    unknown = [anatomy for anatomy in rule.when.anatomies if anatomy not in regions]
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[0].upper(), sorted(regions), n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(regions))}"
    said = f"rule {rule.name!r} is for {unknown[0]!r}, which no image shows: it never fires"
    return Doubt(number, said, remedy, is_mistake=True)


def shadowed(policy: Policy) -> tuple[tuple[Rule, Rule], ...]:
    """Rules that never fire, each with an earlier one that holds wherever it does."""
    found = []
    for number, rule in enumerate(policy.rules):
        before = next((one for one in policy.rules[:number] if covers(one.when, rule.when)), None)
        if before is not None:
            found.append((rule, before))
    return tuple(found)


def raises_nothing(policy: Policy) -> bool:
    """Whether no rule raises any study."""
    return all(rule.priority is Priority.ROUTINE for rule in policy.rules)


def covers(earlier: Condition, later: Condition) -> bool:
    """Whether the one condition holds wherever the other one does, as far as can be told part by part."""
    first, second = _settled(earlier), _settled(later)
    return (
        _same_or_free(first.finding, second.finding)
        and (first.min_probability or 0) <= (second.min_probability or 0)
        and _or_one(first.max_probability) >= _or_one(second.max_probability)
        and _among(second.anatomies, first.anatomies)
        and _same_or_free(first.above_threshold, second.above_threshold)
        and _same_or_free(first.uncertainty, second.uncertainty)
        and _among(second.order_priorities, first.order_priorities)
        and _places_among(second.locations, first.locations)
        and _among(_folded(second.patient_classes), _folded(first.patient_classes))
        and _ages_cover(first, second)
        and _hours_cover(first.hours, second.hours)
        and _among(second.weekdays, first.weekdays)
    )


def _settled(when: Condition) -> Condition:
    """The condition with what its finding says of the uncertainty, and the other way round."""
    if when.finding is not None:
        # Abnormal is at or above the threshold, normal below it; only what is uncertain is on either side.
        sure = {Finding.ABNORMAL: True, Finding.NORMAL: False}.get(when.finding)
        above = sure if when.above_threshold is None else when.above_threshold
        return replace(when, uncertainty=when.finding is Finding.UNCERTAIN, above_threshold=above)
    return replace(when, finding=Finding.UNCERTAIN) if when.uncertainty else when


def _same_or_free(first: object, second: object) -> bool:
    return first is None or first == second


def _or_one(limit: float | None) -> float:
    return 1.0 if limit is None else limit


def _among(second: Collection[object], first: Collection[object]) -> bool:
    return not first or (bool(second) and set(second) <= set(first))


def _folded(words: Collection[str]) -> tuple[str, ...]:
    return tuple(word.casefold() for word in words)


def _places_among(second: tuple[str, ...], first: tuple[str, ...]) -> bool:
    return not first or (bool(second) and all(is_at(place, first) for place in second))


def _ages_cover(first: Condition, second: Condition) -> bool:
    if first.min_age is None and first.max_age is None:
        return True
    if second.min_age is None and second.max_age is None:  # it fires also where no age is known
        return False
    low = first.min_age is None or first.min_age <= (second.min_age or 0)
    return low and (first.max_age is None or (second.max_age is not None and second.max_age <= first.max_age))


def _hours_cover(first: Hours | None, second: Hours | None) -> bool:
    if first is None:
        return True
    return second is not None and all(first.hold(at) for at in _MINUTES if second.hold(at))
