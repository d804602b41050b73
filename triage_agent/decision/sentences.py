"""A rule in words: what it asks for, and what follows. No patient's data is in them. Pure."""

from collections.abc import Sequence
from datetime import UTC, tzinfo

from triage_agent.decision.rules import Condition, Policy, Rule
from triage_agent.domain.vocabulary import Finding, Priority

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FINDINGS = {
    Finding.ABNORMAL: "an abnormal finding",
    Finding.NORMAL: "a normal finding",
    Finding.UNCERTAIN: "an uncertain finding",
}


def conditions(when: Condition, zone: tzinfo = UTC) -> str:
    """What a rule asks for, part by part; "any study" where it asks for nothing."""
    return "; ".join((*_of_result(when), *_of_order(when), *_of_time(when, zone))) or "any study"


def rule_in_words(rule: Rule, zone: tzinfo = UTC) -> str:
    """A whole rule as a sentence."""
    raises = f"raise to {rule.priority.value}" if rule.priority is not Priority.ROUTINE else "raise nothing"
    category = f", ACR category {rule.acr_category}" if rule.acr_category else ""
    routes = f", results only to {_listed(rule.routes, 'and')}" if rule.routes else ""
    return f'Rule "{rule.name}", for {conditions(rule.when, zone)}: {raises}{category}{routes}.'


def policy_in_words(policy: Policy) -> tuple[str, ...]:
    """Every rule as a sentence, in their order: the first that holds is the one that fires."""
    return tuple(rule_in_words(rule, policy.zone) for rule in policy.rules)


def _of_result(when: Condition) -> list[str]:
    said = []
    if when.finding is not None:
        said.append(_FINDINGS[when.finding])
    elif when.uncertainty is not None:
        said.append("an uncertain finding" if when.uncertainty else "a finding that is not uncertain")
    low, high = when.min_probability or None, when.max_probability
    if low is not None:
        said.append(f"a probability of at least {low:g}")
    if high is not None and high < 1:
        said.append(f"a probability of at most {high:g}")
    if when.above_threshold is not None:
        side = "at or above" if when.above_threshold else "below"
        said.append(f"a probability {side} the bundle's threshold")
    if when.anatomies:
        said.append(f"the region {_listed(when.anatomies)}")
    return said


def _of_order(when: Condition) -> list[str]:
    said = []
    if when.order_priorities:
        said.append(f"an order that asks for {_listed([one.value for one in when.order_priorities])}")
    if when.locations:
        said.append(f"the location {_listed(when.locations)}")
    if when.patient_classes:
        said.append(f"the patient class {_listed(when.patient_classes)}")
    if when.min_age is not None and when.max_age is not None:
        said.append(f"patients of {when.min_age} to {when.max_age} years")
    elif when.min_age is not None:
        said.append(f"patients of {when.min_age} years or more")
    elif when.max_age is not None:
        said.append(f"patients of at most {when.max_age} years")
    return said


def _of_time(when: Condition, zone: tzinfo) -> list[str]:
    said = []
    if when.weekdays:
        said.append(f"on {_listed([_DAYS[day] for day in when.weekdays])}")
    if when.hours is not None:
        said.append(f"between {when.hours.start:%H:%M} and {when.hours.end:%H:%M}")
    return [f"arrival {' '.join(said)} ({zone})"] if said else []


def _listed(words: Sequence[str], last: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
