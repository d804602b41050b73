"""The tables of DICOMweb: who takes our objects by STOW-RS."""

from triage_agent.sections.base import Section
from triage_agent.sections.http import HttpPeerSettings


class DicomwebSettings(Section):
    """DICOMweb destinations; a peer's url is the root of its services, below which `/studies` is."""

    peers: tuple[HttpPeerSettings, ...] = ()
