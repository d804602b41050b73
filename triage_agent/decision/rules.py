"""The site's rules: what finding, how probable and where, gets which priority."""

from collections import Counter
from dataclasses import dataclass

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
    """

    finding: Finding | None = None
    min_probability: float | None = None
    max_probability: float | None = None
    anatomies: tuple[str, ...] = ()
    above_threshold: bool | None = None

    def holds(self, finding: Finding, probability: float, anatomy: str | None, *, above_threshold: bool = True) -> bool:
        """Whether a result is what this condition asks for."""
        return (
            (self.finding is None or finding is self.finding)
            and (self.min_probability is None or probability >= self.min_probability)
            and (self.max_probability is None or probability <= self.max_probability)
            and (not self.anatomies or anatomy in self.anatomies)
            and (self.above_threshold is None or above_threshold is self.above_threshold)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A named line of the policy.

    Attributes:
        name: what decisions record and people read; unique in a policy.
        priority: what is proposed; `routine` proposes no raise, since a priority only goes up (promise 3).
        acr_category: "1", "2", "3" (act within minutes, hours, days), or None.
    """

    name: str
    when: Condition
    priority: Priority
    acr_category: str | None = None


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

    Raises:
        ConfigurationError: a rule is not usable; the message names it and the remedy says how to mend it.
    """

    rules: tuple[Rule, ...] = _DEFAULT_RULES

    def __post_init__(self) -> None:
        names = Counter(rule.name for rule in self.rules)
        for name, count in names.items():
            if count > 1:
                raise ConfigurationError(f'{count} policy rules are named "{name}"', remedy="give each its own name")
        for rule in self.rules:
            _check(rule)

    def match(
        self, finding: Finding, probability: float, anatomy: str | None, *, above_threshold: bool = True
    ) -> Rule | None:
        """The first rule that holds; None when none does, which changes nothing."""
        holding = (
            rule
            for rule in self.rules
            if rule.when.holds(finding, probability, anatomy, above_threshold=above_threshold)
        )
        return next(holding, None)


def _check(rule: Rule) -> None:
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


DEFAULT_POLICY = Policy()
