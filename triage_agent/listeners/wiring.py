"""Wires listener processes from the settings: one listens here, several in processes of their own."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from triage_agent.audit.queries import QueryLog
from triage_agent.domain.ports import Clock, Worklist
from triage_agent.listeners.pool import ListenerPool
from triage_agent.listening import Listener, build_listener
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import Settings
from triage_agent.worklist.one_writer import share_writing


def build_listeners(
    settings: Settings,
    worklist: Worklist,
    metrics: Metrics,
    clock: Clock,
    wake: Callable[..., None],
    queries: QueryLog | None = None,
) -> Listener:
    """As `listening.build_listener`, with as many processes as the site wants.

    What comes by other ways than DIMSE (STOW-RS, orders) comes to the main process in any case.

    Raises:
        TriageError: see `listening.build_listener`.
    """
    listener = build_listener(settings, worklist, metrics, clock, wake, queries)
    if settings.dicom.processes == 1:
        return listener
    pool = ListenerPool(
        settings, wake=wake, figures=metrics.all_processes(), share=partial(share_writing, settings.database_url)
    )
    return replace(listener, server=pool, check=pool.check, reload=pool.reload, answers_here=False)
