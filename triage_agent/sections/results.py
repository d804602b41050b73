"""What result objects show: the table `[results]`."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator

from triage_agent.sections.base import Section


class ResultsSettings(Section):
    """What stands on pages that people read (`sc`, `pdf`), and whether regions are shown at all."""

    name_patient: bool = False
    evidence: bool = False
    time_zone: str = ""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        """An error of another kind than ValueError would not be told as one line."""
        try:
            if name:
                ZoneInfo(name)
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise ValueError("no time zone is called so; give one such as Europe/Stockholm") from None
        return name

    def zone(self) -> tzinfo:
        """The same as a value; plain UTC where the site states none."""
        return ZoneInfo(self.time_zone) if self.time_zone else UTC
