"""What result objects show: the table `[results]`."""

from triage_agent.sections.base import Section


class ResultsSettings(Section):
    """What stands on pages that people read (`sc`, `pdf`)."""

    name_patient: bool = False
