"""Roles as tables of the configuration name them."""

from typing import Literal

from triage_agent.domain.accounts import Role

Person = Literal[Role.RADIOLOGIST, Role.ADMIN, Role.AUDITOR]  # whoever has an account
