"""Which finding, of whom and when, gets which priority: the schema of a site's rules, inline and in a file alike."""

import re
from datetime import time, tzinfo
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from triage_agent.decision.rules import RESERVED_NAMES, Condition, Hours, Policy, Rule, check_rule
from triage_agent.decision.sentences import WEEKDAYS
from triage_agent.domain.vocabulary import Finding, Priority
from triage_agent.sections.base import Section

_BOUND = re.compile(r"(>=|<=)\s*(\d+(?:\.\d*)?|\.\d+)")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
_OLDEST = 150  # years
_MOST_RULES = 200
_MOST_WORDS = 100

_Word = Annotated[str, Field(min_length=1, max_length=64)]
_Words = Annotated[tuple[_Word, ...], Field(max_length=_MOST_WORDS)]


def _region(word: object) -> object:
    """`wrist` is what people call XR_WRIST."""
    if not isinstance(word, str):
        return word
    name = word.strip().upper()
    return word if word.startswith("XR_") else f"XR_{name.removeprefix('XR_')}"


_Region = Annotated[str, Field(min_length=1, max_length=64), BeforeValidator(_region)]
_Probability = Annotated[float, Field(ge=0, le=1)]


class AgeSettings(Section):
    """Completed years, both ends included."""

    min: int | None = Field(default=None, ge=0, le=_OLDEST)
    max: int | None = Field(default=None, ge=0, le=_OLDEST)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("names no age; give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: the rule can never hold; swap them")
        return self


class RuleConditions(Section):
    """When a policy rule fires; every condition given must hold."""

    finding: Literal[Finding.ABNORMAL, Finding.NORMAL, Finding.UNCERTAIN] | None = None
    probability: str | None = None
    min_probability: _Probability | None = None
    max_probability: _Probability | None = None
    above_threshold: bool | None = None
    uncertainty: bool | None = None
    regions: Annotated[tuple[_Region, ...], Field(max_length=_MOST_WORDS)] = ()
    anatomies: _Words = ()
    order_priority: tuple[Priority, ...] = ()
    location: _Words = ()
    patient_class: _Words = ()
    age: AgeSettings | None = None
    between: str | None = None
    weekdays: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()

    @field_validator("probability")
    @classmethod
    def _is_bounds(cls, given: str | None) -> str | None:
        if given is not None:
            _bounds(given)
        return given

    @field_validator("between")
    @classmethod
    def _is_hours(cls, given: str | None) -> str | None:
        if given is not None:
            _hours(given)
        return given

    @field_validator("location", "patient_class")
    @classmethod
    def _are_words(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for word in given:
            if not word.strip() or not word.isprintable():
                raise ValueError("has a word that cannot be read; write it as the order's PV1 has it")
        return given

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.probability is not None and (self.min_probability, self.max_probability) != (None, None):
            raise ValueError("probability says what min_probability and max_probability say, too; keep one way")
        if self.regions and self.anatomies:
            raise ValueError("regions and anatomies are the same; keep one of them")
        low, high = self._probabilities()
        if low is not None and high is not None and low > high:
            raise ValueError(f"a probability of at least {low:g} and at most {high:g} is none; swap the two")
        sure = self.finding not in {None, Finding.UNCERTAIN}
        if self.finding is not None and self.uncertainty is sure:
            raise ValueError(
                f"finding {self.finding.value} and uncertainty {str(self.uncertainty).lower()} exclude each other; "
                "take one of them out"
            )
        return self

    def _probabilities(self) -> tuple[float | None, float | None]:
        return (self.min_probability, self.max_probability) if self.probability is None else _bounds(self.probability)

    def condition(self) -> Condition:
        """The same as the decision has it."""
        low, high = self._probabilities()
        return Condition(
            finding=self.finding,
            min_probability=low,
            max_probability=high,
            anatomies=self.regions or self.anatomies,
            above_threshold=self.above_threshold,
            uncertainty=self.uncertainty,
            order_priorities=self.order_priority,
            locations=self.location,
            patient_classes=self.patient_class,
            min_age=self.age.min if self.age else None,
            max_age=self.age.max if self.age else None,
            hours=_hours(self.between) if self.between else None,
            weekdays=tuple(WEEKDAYS.index(day) for day in self.weekdays),
        )


class Consequences(Section):
    """What follows where a rule fires."""

    priority: Priority = Priority.ROUTINE
    acr_category: Literal["1", "2", "3"] | None = None
    routes: Annotated[tuple[_Word, ...], Field(min_length=1, max_length=_MOST_WORDS)] | None = None


class RuleSettings(Consequences):
    """One named rule: conditions, and what follows, in a table `then` or beside them."""

    name: str = Field(min_length=1, max_length=64)
    when: RuleConditions
    then: Consequences | None = None

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError("cannot be read; give the rule a name such as abnormal")
        if name in RESERVED_NAMES:
            raise ValueError("is the agent's own name for what no rule decides; choose another")
        return name

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        if self.then is not None and (beside := sorted(self.model_fields_set & Consequences.model_fields.keys())):
            raise ValueError(f"{', '.join(beside)} beside then; put all into then")
        return self

    def rule(self) -> Rule:
        """The same as the decision has it.

        Raises:
            ConfigurationError: it cannot be used.
        """
        follows = self.then or self
        rule = Rule(
            name=self.name,
            when=self.when.condition(),
            priority=follows.priority,
            acr_category=follows.acr_category,
            routes=follows.routes or (),
        )
        check_rule(rule)
        return rule


class RulesFile(Section):
    """A policy file: rules and nothing else."""

    rules: tuple[RuleSettings, ...] = Field(min_length=1, max_length=_MOST_RULES)


class PolicySettings(Section):
    """A site's rules, first match wins; none means the built-in ones.

    Attributes:
        file: where they are instead, relative to the configuration file's folder. `rules` then has what was read of it.
        time_zone: IANA name; whose time of day and day of the week rules ask for.
    """

    file: Path | None = None
    time_zone: str = "UTC"
    rules: Annotated[tuple[RuleSettings, ...], Field(max_length=_MOST_RULES)] = ()

    @field_validator("file")
    @classmethod
    def _is_named(cls, file: Path | None) -> Path | None:
        if file is not None and str(file) in {"", "."}:
            raise ValueError("must not be empty; name the policy file, or take file out")
        return file

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        _zone(name)
        return name

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if self.file is not None and self.rules:
            raise ValueError("file and [[policy.rules]] are both there; keep the rules in one of them")
        return self

    def without_routes(self) -> dict[str, object]:
        """The rules as a configuration would have them inline, sending everywhere."""
        kept = self.model_dump(include={"rules", "time_zone"}, exclude_unset=True)
        for rule in kept.get("rules", ()):
            for table in (rule, rule.get("then") or {}):
                table.pop("routes", None)
        return kept

    def policy(self) -> Policy:
        """The site's rules, or the built-in ones where it has none.

        Raises:
            ConfigurationError: a rule cannot be used, or two have one name.
        """
        zone = _zone(self.time_zone)
        return Policy(rules=tuple(rule.rule() for rule in self.rules), zone=zone) if self.rules else Policy(zone=zone)


def _bounds(given: str) -> tuple[float | None, float | None]:
    """The least and the greatest probability of such as ">= 0.5, <= 0.8".

    Raises:
        ValueError: it cannot be read.
    """
    found: dict[str, float] = {}
    for part in re.split(r"\s*(?:,|\band\b)\s*", given.strip()):
        bound = _BOUND.fullmatch(part)
        value = float(bound[2]) if bound else -1
        if bound is None or bound[1] in found or not 0 <= value <= 1:
            raise ValueError('cannot be read; write ">= 0.8", "<= 0.2" or ">= 0.5, <= 0.8", between 0 and 1')
        found[bound[1]] = value
    return found.get(">="), found.get("<=")


def _hours(given: str) -> Hours:
    found = _HOURS.fullmatch(given.strip())
    if found is None:
        raise ValueError('cannot be read; write a part of the day such as "18:00-07:00"')
    hours = Hours(time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4])))
    if hours.start == hours.end:
        raise ValueError("begins when it ends; take it out where any time will do")
    return hours


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (OSError, LookupError, ValueError, UnicodeError):  # no such name, a folder's, or a path
        raise ValueError('is no time zone; write an IANA name such as "Europe/Berlin"') from None
