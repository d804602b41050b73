import math

import pytest

from triage_agent.decision import DEFAULT_POLICY, Condition, Policy, Rule
from triage_agent.domain.errors import ConfigurationError
from triage_agent.domain.vocabulary import Finding, Priority

ABNORMAL, NORMAL, UNCERTAIN, NOT_ASSESSED = Finding

NOT_ASSESSED_RULE = (
    'policy rule "mine": a study that was not assessed keeps the priority it had; '
    'set finding to "abnormal", "uncertain" or "normal"'
)
CROSSED_RULE = (
    'policy rule "mine": min_probability 0.8 is above max_probability 0.2; swap them, or the rule can never hold'
)


def rule(name="mine", category=None, **when):
    return Rule(name=name, when=Condition(**when), priority=Priority.URGENT, acr_category=category)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([rule(), rule(finding=NORMAL)], '2 policy rules are named "mine"; give each its own name'),
        ([rule(name=" ")], 'a policy rule has no readable name; give it one, such as name = "abnormal"'),
        ([rule(name="a\nb")], 'a policy rule has no readable name; give it one, such as name = "abnormal"'),
        ([rule(name="alert")], 'policy rule "alert": the name is the agent\'s own; choose another name'),
        (
            [rule(finding=NOT_ASSESSED)],
            NOT_ASSESSED_RULE,
        ),
        ([rule(min_probability=1.1)], 'policy rule "mine": min_probability is 1.1; set it between 0 and 1'),
        ([rule(max_probability=-1)], 'policy rule "mine": max_probability is -1; set it between 0 and 1'),
        ([rule(min_probability=math.nan)], 'policy rule "mine": min_probability is nan; set it between 0 and 1'),
        (
            [rule(min_probability=0.8, max_probability=0.2)],
            CROSSED_RULE,
        ),
        (
            [rule(category="4")],
            'policy rule "mine": acr_category is "4"; set it to "1", "2" or "3", or leave it out',
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_its_name_and_a_remedy(rules, message):
    with pytest.raises(ConfigurationError) as caught:
        Policy(rules=tuple(rules))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("condition", "finding", "probability", "anatomy", "holds"),
    [
        (Condition(), ABNORMAL, 0.5, None, True),
        (Condition(), NORMAL, 0.0, "XR_KNEE", True),
        (Condition(finding=ABNORMAL), NORMAL, 0.5, None, False),
        (Condition(min_probability=0.5), ABNORMAL, 0.5, None, True),
        (Condition(min_probability=0.5), ABNORMAL, 0.49, None, False),
        (Condition(max_probability=0.5), ABNORMAL, 0.5, None, True),
        (Condition(max_probability=0.5), ABNORMAL, 0.51, None, False),
        (Condition(anatomies=("XR_HAND",)), ABNORMAL, 0.5, "XR_HAND", True),
        (Condition(anatomies=("XR_HAND",)), ABNORMAL, 0.5, "XR_KNEE", False),
        (Condition(anatomies=("XR_HAND",)), ABNORMAL, 0.5, None, False),
    ],
)
def test_a_condition_holds_when_every_part_that_is_given_holds(condition, finding, probability, anatomy, holds):
    assert condition.holds(finding, probability, anatomy) is holds


@pytest.mark.parametrize(
    ("finding", "priority", "category"),
    [(ABNORMAL, Priority.URGENT, "2"), (UNCERTAIN, Priority.ROUTINE, None), (NORMAL, Priority.ROUTINE, None)],
)
def test_the_default_policy_raises_no_study_below_the_threshold_that_is_not_abnormal(finding, priority, category):
    fired = DEFAULT_POLICY.match(finding, 0.5, None, above_threshold=finding is ABNORMAL)
    assert (fired.name, fired.priority, fired.acr_category) == (finding.value, priority, category)


def test_the_default_policy_raises_an_uncertain_study_that_would_else_be_called_abnormal():
    fired = DEFAULT_POLICY.match(UNCERTAIN, 0.6, None, above_threshold=True)
    assert (fired.name, fired.priority) == ("uncertain_above_threshold", Priority.URGENT)
