"""What workers and replicas agree on: plain values that travel as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from triage_agent import __version__

_PROTOCOL = 2  # how agents and replicas speak; those of another number do not understand each other
_SPEAKS = f"scorer-p{_PROTOCOL}-"  # what names of such deployments begin with
_SHORT = 12  # hex digits of a fingerprint
_DIGEST = 16  # ... and of a bundle's digest, in a key


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cluster, and what is to run on it.

    Attributes:
        address: "" for a cluster of its own on this machine, else as `ray.init` takes it ("auto", "host:6379",
            "ray://host:10001").
        token: what the cluster asks for (RAY_AUTH_TOKEN); empty where it asks for none, or the environment has it.
        application: the name under which it runs there; agents that share a name share the replicas.
        replicas, max_replicas: how many there are; with more of the latter, as many as the load needs.
        cpus, gpus: what one replica reserves; 0.5 of a GPU lets two share one.
        batch: images that a replica puts together, and that one request carries to it, at most.
        latency_seconds: how long an image may wait for others to fill a batch.
        timeout_seconds: after so long without a score the work is given back.
        deploys: whether to start the application where it is not there; who only looks does not.
    """

    address: str = ""
    token: str = field(default="", repr=False)
    application: str = "triage-agent"
    replicas: int = 1
    max_replicas: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 8
    latency_seconds: float = 0.02
    timeout_seconds: float = 60.0
    deploys: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A bundle as replicas load it; attributes as `scorer.Scorer` takes them.

    Attributes:
        ref: "embedded", or a folder that is the same bundle on every machine.
        precision: as `Encoder.for_inference` takes it.
        digest: what the bundle there must have, so that no replica scores with another one.
    """

    ref: str
    digest: str
    device: str = "auto"
    threads: int | None = None
    batch: int = 8
    encoder_source: str | None = None
    outlier_limit: float = 1.0
    compiled: bool = False
    precision: Literal["auto", "float32"] = "auto"

    @property
    def key(self) -> str:
        """By which replicas know it: the digest, and a sum of how it is to be loaded."""
        return f"{self.digest[:_DIGEST]}-{_sum(asdict(self))}"


def deployment_name(plan: Plan, model: Model) -> str:
    """The same for workers that want the same replicas, another one for any other version of the agent or bundle."""
    shape = {
        "version": __version__,
        "replicas": [plan.replicas, plan.max_replicas],
        "reserved": [plan.cpus, plan.gpus],
        "batching": [plan.batch, plan.latency_seconds],
        "model": model.key,
    }
    return f"{_SPEAKS}{_sum(shape)}"


def speaks_alike(name: str) -> bool:
    """Whether replicas of a deployment of that name understand this agent, whatever bundle they have."""
    return name.startswith(_SPEAKS)


def _sum(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_SHORT]
