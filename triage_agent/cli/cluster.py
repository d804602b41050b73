"""What `check` says of the Ray cluster that scores."""

import time

from triage_agent.bootstrap import build_scorer
from triage_agent.cli.ports import Noteworthy
from triage_agent.cli.reaching import connected
from triage_agent.domain.errors import TriageError
from triage_agent.models.cluster.scorer import ClusterScorer
from triage_agent.models.cluster.wire import Standing, State
from triage_agent.sections.base import LOOPBACK
from triage_agent.sections.ray import RaySettings
from triage_agent.settings import Settings

_LOOK_SECONDS = 0.1


def only_looking(settings: Settings) -> Settings:
    """The same configuration, by which nothing is changed on a cluster that others use, too."""
    if settings.model.runner != "ray" or not settings.model.ray.address:
        return settings
    ray = settings.model.ray.model_copy(update={"deploy": False})
    return settings.model_copy(update={"model": settings.model.model_copy(update={"ray": ray})})


def look_at_cluster(settings: Settings) -> str:
    """Whether the cluster can be joined, and replicas run there.

    Raises:
        TriageError: it cannot, or none does.
        Noteworthy: it can, and the application is not there yet; or it admits anybody.
    """
    require_somebody(settings)
    scorer = build_scorer(settings)
    if not isinstance(scorer, ClusterScorer):
        return "no cluster is asked"
    standing = _settled(scorer, settings.model.ray.timeout_seconds)
    where = settings.model.ray.address or "a cluster of its own"
    if standing.state is State.ABSENT:
        raise Noteworthy(f"{where}: {standing.says}", remedy="start a worker, and run `check` again")
    if standing.state is not State.READY:
        raise TriageError(f"{where}: {standing.says}", remedy=_remedy(settings))
    if not settings.model.ray.token and not _is_here(settings.model.ray):
        raise Noteworthy(
            f"{where}: {standing.says}; whoever reaches its ports may run anything there",
            remedy="start every node with RAY_AUTH_MODE=token and name the token in [model.ray] token_file",
        )
    return f"{where}: {standing.says}"


def require_somebody(settings: Settings) -> None:
    """Before Ray is asked, which tries for minutes to reach a host that is not there.

    Raises:
        TriageError: a cluster's address is given, and nobody listens there.
    """
    if settings.model.runner == "ray" and (place := settings.model.ray.place()) is not None:
        connected(*place).close()


def _settled(scorer: ClusterScorer, seconds: float) -> Standing:
    """How it stands once it has been joined, or could not be."""
    deadline = time.monotonic() + seconds
    while (standing := scorer.standing()).state is State.JOINING and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return standing


def _is_here(ray: RaySettings) -> bool:
    place = ray.place()
    return not ray.address or (place is not None and place[0] in LOOPBACK)


def _remedy(settings: Settings) -> str:
    if settings.model.ray.address:
        return "see that the cluster runs (`ray status`), that this machine reaches its ports, and that tokens agree"
    return "see Ray's logs in /tmp/ray/session_latest/logs"
