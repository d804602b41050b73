"""Which results go where."""

from typing import Literal

from pydantic import Field, field_validator

from triage_agent.domain.vocabulary import ArtifactKind, Unscored
from triage_agent.sections.base import Section


class RouteSettings(Section):
    """Send these kinds to this destination."""

    to: str
    send: tuple[ArtifactKind, ...] = Field(min_length=1)
    commit: bool = False
    unscored: bool | Literal["all"] = False

    @field_validator("send")
    @classmethod
    def _can_be_asked_for(cls, send: tuple[ArtifactKind, ...]) -> tuple[ArtifactKind, ...]:
        """Rejection notes go where the objects went that they withdraw."""
        if ArtifactKind.REJECTION in send:
            raise ValueError("rejection is no kind for a route: `triage-agent withdraw` sends it where it is needed")
        return send

    def told_of(self) -> Unscored:
        """The same as a domain value."""
        if self.unscored == "all":
            return Unscored.ALL
        return Unscored.RADIOGRAPHS if self.unscored else Unscored.NONE
