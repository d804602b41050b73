"""Whose replicas an agent takes for its own, by what Ray Serve says runs under the application's name."""

from types import SimpleNamespace

import pytest
from support.serving import membership

from triage_agent.models.cluster.plan import Model, Plan, deployment_name
from triage_agent.models.cluster.wire import State

MODEL = Model(ref="embedded", digest="a" * 64)
PLAN = Plan(address="elsewhere")
OURS = deployment_name(PLAN, MODEL)
OTHER_BUNDLE = deployment_name(PLAN, Model(ref="embedded", digest="b" * 64))
BEFORE = "scorer-e82ad4b1c907"  # of agents that asked about one image at a time


class Serve:
    """What runs there, and how often somebody deployed."""

    def __init__(self):
        self.name = ""
        self.deployed = 0

    def status(self):
        found = {}
        if self.name:
            one = SimpleNamespace(replica_states={"RUNNING": 3})
            found = {PLAN.application: SimpleNamespace(deployments={self.name: one}, status="RUNNING", message="")}
        return SimpleNamespace(applications=found)

    def get_app_handle(self, application):
        assert application == PLAN.application
        return self.name


@pytest.fixture
def serve(monkeypatch):
    serve = Serve()

    def deploy(self):
        serve.name, self._deployed = OURS, True
        serve.deployed += 1

    ray = SimpleNamespace(is_initialized=lambda: True, cluster_resources=dict, nodes=list)
    monkeypatch.setattr(membership, "serve", serve)
    monkeypatch.setattr(membership, "ray", ray)
    monkeypatch.setattr(membership.Membership, "_deploy", deploy)
    return serve


@pytest.fixture
def member():
    return membership.Membership(PLAN, MODEL)


def test_who_finds_its_own_takes_it_and_counts_its_replicas(serve, member):
    serve.name = OURS
    assert member.look().state is State.READY
    assert (member.handle(), member.running, serve.deployed) == (OURS, 3, 0)


@pytest.mark.parametrize("there", ["", OTHER_BUNDLE, BEFORE])
def test_who_finds_another_one_or_none_deploys_once(serve, member, there):
    serve.name = there
    assert [member.look().state for _ in range(3)] == [State.JOINING, State.READY, State.READY]
    assert (member.handle(), serve.deployed) == (OURS, 1)


def test_another_bundle_s_replicas_that_took_its_place_serve_it(serve, member):
    member.look()
    serve.name = OTHER_BUNDLE
    assert member.look().state is State.READY
    assert (member.handle(), serve.deployed) == (OTHER_BUNDLE, 1)


def test_replicas_that_would_not_understand_are_not_asked_and_it_says_so(serve, member):
    member.look()
    assert member.look().state is State.READY
    serve.name = BEFORE
    standing = member.look()
    assert (standing.state, serve.deployed) == (State.AWAY, 1)
    assert "another version of the agent" in standing.says
    with pytest.raises(RuntimeError):
        member.handle()
    serve.name = OURS
    assert member.look().state is State.READY
    assert member.handle() == OURS
