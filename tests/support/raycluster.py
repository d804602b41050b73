"""A real Ray cluster of several nodes on this machine, in a process of its own; `Nodes` starts and tells it what to do.

Run as a program it reads lines of JSON: ["add"] (a node), ["kill"] (the node that was added first), ["end"], and
["deploy", plan, model, seconds] (the application, with a model that sleeps so long).
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

TOKEN = "0123456789abcdef" * 4
# Without it Ray takes 127.0.0.1 for this machine as others see it: what joins needs it, too.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# How many replicas there are to be is decided by what the last seconds were like, and not by the last half minute.
_SOON = {
    "RAY_SERVE_AUTOSCALING_METRIC_RECORD_INTERVAL_FACTOR": "0.02",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}
_REPLICA = "ray::ServeReplica"


class Nodes:
    """A head, with room for so many CPUs of replicas, and nodes with others."""

    def __init__(self, count, cpus=1, head_cpus=0):
        repository = Path(__file__).parents[2]
        paths = os.pathsep.join([str(repository), str(repository / "tests"), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(cpus), str(head_cpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": paths,
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": TOKEN,
                "RAY_USAGE_STATS_ENABLED": "0",
                **LOOPBACK,
                **_SOON,
                "OMP_NUM_THREADS": "1",
            },
        )
        self.address = self._read()
        for _ in range(count):
            self.add()

    def add(self):
        """One more node, with room for so many CPUs."""
        self._tell("add")

    def kill(self):
        """The oldest node loses its power."""
        self._tell("kill")

    def deploy(self, plan, model, seconds):
        """Have the application run with a model of fixed time (`support.sleeping`), before an agent asks for it."""
        self._tell("deploy", asdict(plan), asdict(model), seconds)

    def kill_replica(self):
        """SIGKILL for one replica's process; returns its process id."""
        victim = min(self.replicas())
        os.kill(victim, signal.SIGKILL)
        return victim

    def replicas(self):
        """Process ids of the replicas of this cluster."""
        return [pid for pid in descendants(self._process.pid) if title(pid).startswith(_REPLICA)]

    def close(self):
        """End all of it."""
        with self._process:
            try:
                self._process.stdin.write(json.dumps(["end"]) + "\n")
                self._process.stdin.flush()
                self._process.wait(20)
            except (OSError, subprocess.TimeoutExpired):
                pass
            for pid in [*descendants(self._process.pid), self._process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def _tell(self, *what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        assert self._read() == what[0]

    def _read(self):
        line = self._process.stdout.readline()
        assert line, "the cluster did not start"
        return json.loads(line)


@contextmanager
def running(count, **how):
    """The nodes of a cluster, which this process and what it starts can join."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LOOPBACK.items():
            patch.setenv(name, value)
        nodes = Nodes(count, **how)
        try:
            yield nodes
        finally:
            nodes.close()


def descendants(root):
    """Process ids of what a process has started, and of what that has."""
    children = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(status.parent.name))
    found, left = [], [root]
    while left:
        mine = children.get(left.pop(), [])
        found += mine
        left += mine
    return found


def title(pid):
    """A process's command line, or what it calls itself; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _serve(cpus, head_cpus):
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - only in the process that is the cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": head_cpus, "include_dashboard": False, "node_ip_address": "127.0.0.1"},
    )
    nodes = []
    _say(cluster.address)
    for line in sys.stdin:
        what, *rest = json.loads(line)
        if what == "end":
            break
        if what == "add":
            nodes.append(cluster.add_node(num_cpus=cpus, node_ip_address="127.0.0.1"))
        if what == "kill":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        if what == "deploy":
            _deploy(cluster.address, *rest)
        _say(what)
    cluster.shutdown()


def _say(what):
    sys.__stdout__.write(json.dumps(what) + "\n")
    sys.__stdout__.flush()


def _deploy(address, plan, model, seconds):
    import ray  # noqa: PLC0415
    from ray import serve  # noqa: PLC0415
    from support.sleeping import load  # noqa: PLC0415

    from triage_agent.models.cluster.application import application  # noqa: PLC0415
    from triage_agent.models.cluster.plan import Model, Plan  # noqa: PLC0415

    if not ray.is_initialized():
        ray.init(address, log_to_driver=False, configure_logging=False)
    serve.start(proxy_location="Disabled")
    wanted = application(Plan(**plan), Model(**model), partial(load, seconds))
    serve.run(wanted, name=plan["application"], route_prefix=None)


if __name__ == "__main__":
    sys.stdout = sys.stderr  # Ray prints what befalls it: whoever listens hears our words alone
    sys.path = [path for path in sys.path if Path(path) != Path(__file__).parent]  # modules here have library names
    _serve(*map(int, sys.argv[1:3]))
