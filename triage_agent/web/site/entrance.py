"""What stands at the entrance of the pages besides names and passwords."""

from dataclasses import dataclass

from triage_agent.web.site.provider import Provider
from triage_agent.web.site.sealing import Seal
from triage_agent.web.site.second import SecondFactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """The parts.

    Attributes:
        label: what the button of the identity provider says.
    """

    seal: Seal
    second: SecondFactor
    provider: Provider | None = None
    label: str = ""
