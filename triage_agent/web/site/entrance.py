"""What stands at the entrance of the pages besides names and passwords."""

from dataclasses import dataclass

from triage_agent.web.site.second import SecondFactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """The parts; each may be missing."""

    second: SecondFactor | None = None
