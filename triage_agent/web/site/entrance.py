"""What stands at the entrance of the pages besides names and passwords."""

from dataclasses import dataclass, field

from triage_agent.domain.accounts import Role
from triage_agent.web.access import Access
from triage_agent.web.site.provider import Provider
from triage_agent.web.site.sealing import Seal
from triage_agent.web.site.second import SecondFactor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """The parts.

    Attributes:
        label: what the button of the identity provider says.
        access: programs with tokens.
        masked: whoever has no other role sees no patient's name and identifier.
        tries: how often a minute one address may try to sign in.
        requests: how often a minute one session, or one token, may ask.
    """

    seal: Seal
    second: SecondFactor
    provider: Provider | None = None
    label: str = ""
    access: Access = field(default_factory=lambda: Access(()))
    masked: frozenset[Role] = frozenset()
    tries: int = 60
    requests: int = 1200
