"""The table of the Ray cluster that scores."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from triage_agent.models.cluster.plan import Plan
from triage_agent.sections.base import Section

_ADDRESS = re.compile(r"(?:auto|local|(?:ray://)?[A-Za-z0-9._-]+:\d{1,5}|(?:ray://)?\[[0-9A-Fa-f:]+\]:\d{1,5})?")


class RaySettings(Section):
    """Where replicas of the model run, how many, and what each of them takes; for runner = "ray"."""

    address: str = ""
    token: str = Field(default="", repr=False)
    application: str = Field(default="triage-agent", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    replicas: int = Field(default=1, ge=1, le=1024)
    max_replicas: int | None = Field(default=None, ge=1, le=1024)
    cpus_per_replica: float = Field(default=1.0, ge=0, le=1024)
    gpus_per_replica: float = Field(default=0.0, ge=0, le=64)
    batch: int = Field(default=8, ge=1, le=1024)
    latency_ms: float = Field(default=10.0, ge=0, le=10_000)
    timeout_seconds: float = Field(default=60.0, ge=1, le=3600)
    deploy: bool = True

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        if not _ADDRESS.fullmatch(address):
            raise ValueError('give "" for a cluster of its own, "auto", "host:6379" or "ray://host:10001"')
        place = _place(address)
        if place is not None and not 1 <= place[1] <= 65535:  # noqa: PLR2004 - the last port
            raise ValueError("a port is 1 to 65535")
        return "" if address == "local" else address

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(
                f"max_replicas {self.max_replicas} is below replicas {self.replicas}; make it the larger one"
            )
        if self.gpus_per_replica > 1 and self.gpus_per_replica % 1:
            raise ValueError("gpus_per_replica above 1 is a whole number: Ray divides only one GPU")
        return self

    def place(self) -> tuple[str, int] | None:
        """Host and port of a cluster that is somewhere; None for "auto" and for one of its own."""
        return _place(self.address)

    def plan(self) -> Plan:
        """The same for who carries it out."""
        return Plan(
            address=self.address,
            token=self.token,
            application=self.application,
            replicas=self.replicas,
            max_replicas=self.max_replicas or self.replicas,
            cpus=self.cpus_per_replica,
            gpus=self.gpus_per_replica,
            batch=self.batch,
            latency_seconds=self.latency_ms / 1000,
            timeout_seconds=self.timeout_seconds,
            deploys=self.deploy,
        )


def _place(address: str) -> tuple[str, int] | None:
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    return (host.strip("[]"), int(port)) if colon else None
