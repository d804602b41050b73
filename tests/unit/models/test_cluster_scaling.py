"""How many replicas there are to be: for the images that they have, whatever requests carry."""

import math
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from support.serving import AutoscalingConfig, AutoscalingPolicy, application

from triage_agent.models.cluster.plan import Model, Plan
from triage_agent.models.cluster.scaling import by_images, share

BATCH = 8


def wanted(requests, told, policy=by_images):
    context = SimpleNamespace(
        config=AutoscalingConfig(min_replicas=1, max_replicas=100, target_ongoing_requests=share(BATCH)),
        total_num_requests=requests,
        aggregated_metrics=told,
    )
    replicas, state = policy(context)
    assert state == {}
    return math.ceil(replicas)


def of(*images):
    return {"images": {f"replica-{number}": count for number, count in enumerate(images)}}


@pytest.mark.parametrize(
    ("requests", "told", "replicas"),
    [
        (0, of(0), 0),  # Ray keeps to the fewest
        (1, of(1), 1),  # one agent, one image at a time
        (1, of(8), 1),  # ... a study at a time
        (2, of(16), 1),  # the device is busy, and has what comes next
        (6, of(48), 3),  # whole batches
        (6, of(24, 24), 3),
        (16, of(16), 1),  # one image each: as many as two batches
        (40, of(40), 3),
        (40, of(16), 3),  # they wait on the way
        (48, of(16, 0), 3),  # ... or with a replica that has not told yet
    ],
)
def test_there_are_replicas_for_the_images_that_they_have(requests, told, replicas):
    assert wanted(requests, told) == replicas


@pytest.mark.parametrize("told", [None, {}, {"images": {}}, {"others": {"replica": 100.0}}])
def test_where_no_replica_tells_each_request_is_taken_for_a_batch(told):
    assert [wanted(requests, told) for requests in (0, 1, 2, 6)] == [0, 1, 1, 3]


def test_ray_takes_it_to_where_the_agent_is_not_installed(monkeypatch):
    taken = AutoscalingPolicy(policy_function=by_images).get_serialized_policy_def()
    monkeypatch.setitem(__import__("sys").modules, "triage_agent.models.cluster.scaling", None)
    assert wanted(6, of(48), cloudpickle.loads(taken)) == 3


@pytest.mark.parametrize("batch", [1, 8, 1024])
def test_requests_wait_in_the_replica_by_urgency_and_not_on_the_way_by_arrival(batch):
    plan = Plan(batch=batch, max_replicas=2)
    deployment = application(plan, Model(ref="embedded", digest="a" * 64))._bound_deployment
    assert deployment.max_ongoing_requests == 256
    assert deployment._deployment_config.autoscaling_config.target_ongoing_requests == 2 * batch
