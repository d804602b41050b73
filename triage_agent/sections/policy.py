"""Which finding gets which priority and ACR category."""

from typing import Literal

from pydantic import Field

from triage_agent.domain.vocabulary import Finding, Priority
from triage_agent.sections.base import Section


class RuleConditions(Section):
    """When a policy rule fires; every condition given must hold."""

    finding: Literal[Finding.ABNORMAL, Finding.NORMAL, Finding.UNCERTAIN]
    min_probability: float = Field(default=0, ge=0, le=1)
    max_probability: float = Field(default=1, ge=0, le=1)
    anatomies: tuple[str, ...] = ()
    above_threshold: bool | None = None


class RuleSettings(Section):
    """One named rule: conditions, and the priority and ACR category that follow."""

    name: str = Field(min_length=1, max_length=64)
    when: RuleConditions
    priority: Priority = Priority.ROUTINE
    acr_category: Literal["1", "2", "3"] | None = None


class PolicySettings(Section):
    """Finding to priority, first match wins; no rules means the built-in ones."""

    rules: tuple[RuleSettings, ...] = ()
