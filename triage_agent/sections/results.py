"""What result objects show: the table `[results]`."""

from triage_agent.sections.base import Section


class ResultsSettings(Section):
    """What stands on pages that people read (`sc`, `pdf`), and whether regions are shown at all."""

    name_patient: bool = False
    evidence: bool = False
