"""The table of a site's own words for priorities."""

from typing import Self

from pydantic import model_validator

from triage_agent.domain.priorities import PriorityWords
from triage_agent.domain.vocabulary import Priority
from triage_agent.sections.base import Section


class PriorityWordsSettings(Section):
    """What a site writes for each priority, besides DICOM's own terms."""

    stat: tuple[str, ...] = ()
    urgent: tuple[str, ...] = ()
    routine: tuple[str, ...] = ()

    def words(self) -> PriorityWords:
        """The same as a domain value.

        Raises:
            ValueError: a word cannot be used, or means two priorities.
        """
        return PriorityWords.of(
            {Priority.STAT: self.stat, Priority.URGENT: self.urgent, Priority.ROUTINE: self.routine}
        )

    @model_validator(mode="after")
    def _fit(self) -> Self:
        self.words()
        return self
