"""The site's rules: what finding, how probable, where, of whom and when, gets which priority."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, time, tzinfo
from typing import NamedTuple

from triage_agent.domain.circumstances import NOTHING_KNOWN, Circumstances
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import Finding, Priority

# RADLEX RID49480, RID49481, RID49482 (PS3.16 CID 7035): act within minutes, hours, days.
ACR_CATEGORIES = frozenset({"1", "2", "3"})

# What decisions say where no rule of the site fired.
ALERT = "alert"
NO_RULE = "no_rule"
ANATOMY_NOT_IN_BUNDLE = "anatomy_not_in_bundle"
NOT_SCORED = "not_scored"
OUT_OF_SCOPE = "out_of_scope"
RESERVED_NAMES = frozenset({ALERT, NO_RULE, ANATOMY_NOT_IN_BUNDLE, NOT_SCORED, OUT_OF_SCOPE})


class Hours(NamedTuple):
    """A part of the day, `start` included, `end` not; it runs over midnight where `end` is not after `start`."""

    start: time
    end: time

    def hold(self, at: time) -> bool:
        """Whether a time of day lies in it."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a rule asks of a study; every part that is given must hold.

    Attributes:
        finding: abnormal, normal or uncertain; None for any of them.
        min_probability: the study probability must be at or above this, in [0, 1].
        max_probability: ... and at or below this, in [0, 1].
        anatomies: the study's region must be one of these; empty for any region, also one that is not stated.
        above_threshold: the probability must be at or above the bundle's threshold, or must not; None for either. It
            tells uncertain studies apart.
        uncertainty: the finding must be uncertain, or must not; None for either.
        order_priorities: the order's priority must be one of these; empty for any, also where none is known.
        locations: the order's patient location must be one of these or begin with one, word by word and whatever the
            case; empty for any.
        patient_classes: the order's patient class must be one of these, whatever the case; empty for any.
        min_age: the patient must have at least so many completed years.
        max_age: ... and at most so many.
        hours: the study must have come in this part of the day, of the policy's time zone.
        weekdays: ... and on one of these days, 0 for Monday; empty for any.
    """

    finding: Finding | None = None
    min_probability: float | None = None
    max_probability: float | None = None
    anatomies: tuple[str, ...] = ()
    above_threshold: bool | None = None
    uncertainty: bool | None = None
    order_priorities: tuple[Priority, ...] = ()
    locations: tuple[str, ...] = ()
    patient_classes: tuple[str, ...] = ()
    min_age: int | None = None
    max_age: int | None = None
    hours: Hours | None = None
    weekdays: tuple[int, ...] = ()

    def holds(
        self,
        finding: Finding,
        probability: float,
        anatomy: str | None,
        *,
        above_threshold: bool = True,
        known: Circumstances = NOTHING_KNOWN,
        zone: tzinfo = UTC,
    ) -> bool:
        """Whether a result, of a study of which this is known, is what this condition asks for."""
        return (
            self.fits_result(finding, probability, anatomy, above_threshold=above_threshold)
            and not self.unknown(known)
            and self._fits(known, zone)
        )

    def fits_result(
        self, finding: Finding, probability: float, anatomy: str | None, *, above_threshold: bool = True
    ) -> bool:
        """Whether the part holds that asks for what the images say."""
        return (
            (self.finding is None or finding is self.finding)
            and (self.min_probability is None or probability >= self.min_probability)
            and (self.max_probability is None or probability <= self.max_probability)
            and (not self.anatomies or anatomy in self.anatomies)
            and (self.above_threshold is None or above_threshold is self.above_threshold)
            and (self.uncertainty is None or (finding is Finding.UNCERTAIN) is self.uncertainty)
        )

    def unknown(self, known: Circumstances) -> tuple[str, ...]:
        """What it asks for and nobody knows, in words: such a condition does not hold."""
        asked = (
            (self.order_priorities, known.order_priority is None, "the order's priority"),
            (self.locations, not known.location, "the patient's location"),
            (self.patient_classes, not known.patient_class, "the patient class"),
            (self.min_age is not None or self.max_age is not None, known.age is None, "the patient's age"),
            (self.hours or self.weekdays, known.arrived_at is None, "when the study came"),
        )
        return tuple(words for wanted, lacking, words in asked if wanted and lacking)

    def may_fit(self, known: Circumstances, zone: tzinfo) -> bool:
        """Whether it holds as far as is known."""
        return self._fits(known, zone)

    def _fits(self, known: Circumstances, zone: tzinfo) -> bool:
        """Whether nothing that is known contradicts it."""
        local = known.arrived_at.astimezone(zone) if known.arrived_at is not None else None
        return (
            (not self.order_priorities or known.order_priority in {None, *self.order_priorities})
            and (not self.locations or not known.location or is_at(known.location, self.locations))
            and (not self.patient_classes or not known.patient_class or _named(known.patient_class, self))
            and (self.min_age is None or known.age is None or known.age >= self.min_age)
            and (self.max_age is None or known.age is None or known.age <= self.max_age)
            and (self.hours is None or local is None or self.hours.hold(local.time()))
            and (not self.weekdays or local is None or local.weekday() in self.weekdays)
        )


def is_at(location: str, places: tuple[str, ...]) -> bool:
    """Whether a location is one of the places, or in one: "ED" holds "ED R1 B2", and not "EDUCATION"."""
    words = location.casefold().split()
    wanted = (place.casefold().split() for place in places)
    return any(words[: len(place)] == place for place in wanted)


def _named(patient_class: str, condition: Condition) -> bool:
    return patient_class.casefold() in {one.casefold() for one in condition.patient_classes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A named line of the policy.

    Attributes:
        name: what decisions record and people read; unique in a policy.
        priority: what is proposed; `routine` proposes no raise, since a priority only goes up (promise 3).
        acr_category: "1", "2", "3" (act within minutes, hours, days), or None.
        routes: the destinations that results go to; empty for all that the site's routes name.
    """

    name: str
    when: Condition
    priority: Priority
    acr_category: str | None = None
    routes: tuple[str, ...] = ()


_DEFAULT_RULES = (
    Rule(name="abnormal", when=Condition(finding=Finding.ABNORMAL), priority=Priority.URGENT, acr_category="2"),
    # What cannot be told is not read later than it would be if nobody had asked how sure the model is.
    Rule(
        name="uncertain_above_threshold",
        when=Condition(finding=Finding.UNCERTAIN, above_threshold=True),
        priority=Priority.URGENT,
        acr_category="2",
    ),
    Rule(name="uncertain", when=Condition(finding=Finding.UNCERTAIN), priority=Priority.ROUTINE),
    Rule(name="normal", when=Condition(finding=Finding.NORMAL), priority=Priority.ROUTINE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in their order; the first that holds is the one that fires. A site that states none has the default ones.

    Attributes:
        zone: whose time of day and day of the week rules ask for.

    Raises:
        ConfigurationError: a rule is not usable; the message names it and the remedy says how to mend it.
    """

    rules: tuple[Rule, ...] = _DEFAULT_RULES
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        names = Counter(rule.name for rule in self.rules)
        for name, count in names.items():
            if count > 1:
                raise ConfigurationError(f'{count} policy rules are named "{name}"', remedy="give each its own name")
        for rule in self.rules:
            check_rule(rule)

    def match(
        self,
        finding: Finding,
        probability: float,
        anatomy: str | None,
        *,
        above_threshold: bool = True,
        known: Circumstances = NOTHING_KNOWN,
    ) -> Rule | None:
        """The first rule that holds; None when none does, which changes nothing."""
        holding = (
            rule
            for rule in self.rules
            if rule.when.holds(
                finding, probability, anatomy, above_threshold=above_threshold, known=known, zone=self.zone
            )
        )
        return next(holding, None)

    def passed_over(
        self,
        fired: Rule | None,
        finding: Finding,
        probability: float,
        anatomy: str | None,
        *,
        above_threshold: bool = True,
        known: Circumstances = NOTHING_KNOWN,
    ) -> tuple[tuple[Rule, tuple[str, ...]], ...]:
        """The rules before the one that fired that hold as far as is known, each with what is not known."""
        before = self.rules if fired is None else self.rules[: self.rules.index(fired)]
        return tuple(
            (rule, lacking)
            for rule in before
            if (lacking := rule.when.unknown(known))
            and rule.when.fits_result(finding, probability, anatomy, above_threshold=above_threshold)
            and rule.when.may_fit(known, self.zone)
        )


def check_rule(rule: Rule) -> None:
    """Refuse a rule that cannot be used.

    Raises:
        ConfigurationError: with its name, and a remedy.
    """
    if not rule.name.strip() or not rule.name.isprintable():
        raise ConfigurationError("a policy rule has no readable name", remedy='give it one, such as name = "abnormal"')
    where = f'policy rule "{rule.name}"'
    if rule.name in RESERVED_NAMES:
        raise ConfigurationError(f"{where}: the name is the agent's own", remedy="choose another name")
    when = rule.when
    if when.finding is Finding.NOT_ASSESSED:
        raise ConfigurationError(
            f"{where}: a study that was not assessed keeps the priority it had",
            remedy='set finding to "abnormal", "uncertain" or "normal"',
        )
    low, high = when.min_probability, when.max_probability
    for key, value in (("min_probability", low), ("max_probability", high)):
        if value is not None and not 0.0 <= value <= 1.0:  # also refuses not-a-number
            raise ConfigurationError(f"{where}: {key} is {value}", remedy="set it between 0 and 1")
    if low is not None and high is not None and low > high:
        raise ConfigurationError(
            f"{where}: min_probability {low} is above max_probability {high}",
            remedy="swap them, or the rule can never hold",
        )
    if rule.acr_category is not None and rule.acr_category not in ACR_CATEGORIES:
        raise ConfigurationError(
            f'{where}: acr_category is "{rule.acr_category}"', remedy='set it to "1", "2" or "3", or leave it out'
        )
    _check_circumstances(where, when)


def _check_circumstances(where: str, when: Condition) -> None:
    if when.min_age is not None and when.max_age is not None and when.min_age > when.max_age:
        raise ConfigurationError(
            f"{where}: age min {when.min_age} is above max {when.max_age}",
            remedy="swap them, or the rule can never hold",
        )
    if when.finding is not None and when.uncertainty not in {None, when.finding is Finding.UNCERTAIN}:
        raise ConfigurationError(
            f"{where}: finding {when.finding.value} and uncertainty {str(when.uncertainty).lower()} exclude each other",
            remedy="take one of them out, or the rule can never hold",
        )


DEFAULT_POLICY = Policy()
