"""Membership of a Ray cluster: joining it, seeing to it that the application runs there, and how that stands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import ray
from ray import serve

from triage_agent.domain.visible import visible
from triage_agent.models.cluster.application import application
from triage_agent.models.cluster.plan import deployment_name, speaks_alike
from triage_agent.models.cluster.wire import Standing, State

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from triage_agent.models.cluster.plan import Model, Plan

_NAMESPACE = "triage-agent"
_OBJECT_STORE_BYTES = 1 << 30  # of a cluster of our own; pixels stay there until they are scored
_LONGEST_MESSAGE = 200  # characters of what Ray says
_RUNNING = "RUNNING"
_FOREIGN = "replicas of another version of the agent run there: end its workers, then start this one again"
_HOPELESS = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})


class Membership:
    """Of one cluster, for one application."""

    def __init__(self, plan: Plan, model: Model) -> None:
        """`model` is what the replicas load before they are ready."""
        self._plan = plan
        self._model = model
        self._name = deployment_name(plan, model)
        self._deployed = False
        self._seen: tuple[str, ...] = ()
        self._handle: DeploymentHandle | None = None
        self.running = 0  # replicas, when they were last counted

    def handle(self) -> DeploymentHandle:
        """The way to the replicas that there are now.

        Raises:
            RuntimeError: there are none.
        """
        if self._handle is None:
            raise RuntimeError("no application")
        return self._handle

    def look(self) -> Standing:
        """Join where that is not done yet, deploy what is not there, and say how it stands."""
        try:
            if not ray.is_initialized():
                self._join()
            return self._look()
        except Exception as error:  # noqa: BLE001 - whatever Ray raises, the agent hears it and goes on
            return Standing(State.AWAY, f"the cluster cannot be joined ({type(error).__name__}: {_short(error)})")

    def leave(self) -> None:
        """A cluster of our own ends; another one keeps the application for who comes next."""
        if ray.is_initialized():
            ray.shutdown()

    def _join(self) -> None:
        options: dict[str, Any] = {"namespace": _NAMESPACE, "log_to_driver": False, "configure_logging": False}
        if self._plan.address:
            ray.init(self._plan.address, **options)
            return
        wanted = self._plan.cpus * max(self._plan.replicas, self._plan.max_replicas)
        ray.init(
            "local",
            **options,
            num_cpus=max(os.cpu_count() or 1, int(wanted + 1)),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
        )

    def _look(self) -> Standing:
        found = serve.status().applications.get(self._plan.application)
        names = tuple(found.deployments) if found else ()
        if not found or (self._name not in names and not self._deployed):
            # Another version's replicas are replaced once: two that want different ones must not do so in turns.
            if not self._plan.deploys:
                return Standing(
                    State.ABSENT, "the application, as it is configured here, is not there; a worker starts it"
                )
            self._deploy()
            return Standing(State.JOINING, "deploying")
        self._deployed = True
        if not any(map(speaks_alike, names)):
            self._handle, self.running = None, 0
            return Standing(State.AWAY, _FOREIGN)
        running = sum(one.replica_states.get(_RUNNING, 0) for one in found.deployments.values())
        self.running = running
        if running:
            self._take(names)
            return Standing(State.READY, self._says(running))
        # One whose replicas died is unhealthy, too, until Serve has started others: who asked goes on waiting for them.
        if found.status in _HOPELESS and self._handle is None:
            return Standing(State.AWAY, f"no replica starts: {_short(found.message)}")
        return Standing(State.JOINING, "no replica is ready yet")

    def _deploy(self) -> None:
        """Have the application started, without waiting for it; its replicas serve handles, and no port."""
        serve.start(proxy_location="Disabled")
        target = serve.RunTarget(
            target=application(self._plan, self._model), name=self._plan.application, route_prefix=None
        )
        serve.run_many([target], wait_for_applications_running=False, wait_for_ingress_deployment_creation=False)
        self._deployed = True

    def _take(self, names: tuple[str, ...]) -> None:
        if self._handle is None or names != self._seen:
            self._handle = serve.get_app_handle(self._plan.application)
            self._seen = names

    def _says(self, running: int) -> str:
        resources = ray.cluster_resources()
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        gpus = resources.get("GPU", 0)
        return f"replicas running: {running}; machines: {nodes}, with {gpus:g} GPUs"


def _short(what: object) -> str:
    """The last line of what Ray says, which has the reason of a traceback, safe to show."""
    lines = str(what).strip().splitlines()
    return visible(lines[-1])[-_LONGEST_MESSAGE:] if lines else ""
