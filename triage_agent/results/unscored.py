"""Who is told of a study that nobody could score: by default nobody; the worklist has it, and nothing was raised."""

from collections.abc import Sequence
from dataclasses import replace

from triage_agent.domain.decision import Decision, Route
from triage_agent.domain.sop_classes import RADIOGRAPHS
from triage_agent.domain.study import StoredInstance
from triage_agent.domain.vocabulary import ArtifactKind, Event, Unscored
from triage_agent.results.registry import REGISTRY

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"  # a radiograph, though not one to score


def told_of_unscored(routes: Sequence[Route], decision: Decision, instances: Sequence[StoredInstance]) -> list[Route]:
    """The routes that are to say so, each with those of its kinds that can; none where the study was decided.

    What has no radiograph (a CT, a report) is nobody's news unless a route asks for all.
    """
    if decision.event is Event.DECIDED:
        return []
    classes = {one.sop_class_uid for one in instances}
    asked = {Unscored.ALL}
    if decision.event is Event.FAILED or classes & {*RADIOGRAPHS, _FOR_PROCESSING}:
        asked.add(Unscored.RADIOGRAPHS)
    told = [replace(route, send=_able(route)) for route in routes if route.unscored in asked]
    return [route for route in told if route.send]


def _able(route: Route) -> tuple[ArtifactKind, ...]:
    return tuple(kind for kind in route.send if REGISTRY[kind].tells_of_unscored)
