"""Scores to findings, priorities and reasons, by rules that a site can edit. Pure."""

from triage_agent.decision.policy import decide, flag_for, flag_of_failed, of_several_patients
from triage_agent.decision.rules import DEFAULT_POLICY, Condition, Policy, Rule

__all__ = [
    "DEFAULT_POLICY",
    "Condition",
    "Policy",
    "Rule",
    "decide",
    "flag_for",
    "flag_of_failed",
    "of_several_patients",
]
