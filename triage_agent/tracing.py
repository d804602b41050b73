"""Wires traces of studies' journeys from the settings."""

from contextlib import ExitStack

from triage_agent import __version__
from triage_agent.ops.journey import NOWHERE, Journey
from triage_agent.settings import Settings


def trace_journeys(settings: Settings, role: str, ends: ExitStack) -> Journey:
    """What tells a collector of studies' steps, until `ends` is; nothing where the site wants no traces.

    Raises:
        MissingPackageError: it wants some, and the packages are not installed.
    """
    telemetry = settings.telemetry
    if not telemetry.traces:
        return NOWHERE
    from triage_agent.ops.traces import Collector, open_traces  # noqa: PLC0415 - an extra, which few sites have

    collector = Collector(url=telemetry.traces, share=telemetry.share, ca=telemetry.ca, token=telemetry.token)
    traces = open_traces(collector, **{"service.version": __version__, "triage.role": role})
    ends.callback(traces.close)
    return Journey(traces.tell)
