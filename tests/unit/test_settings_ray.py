"""The table of the Ray cluster."""

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.models.cluster.plan import Plan
from triage_agent.settings import build_settings


def ray(**keys):
    return build_settings({"model": {"runner": "ray", "ray": keys}}, "here").model.ray


def test_without_keys_it_is_one_replica_on_a_cluster_of_its_own():
    assert ray().plan() == Plan(latency_seconds=0.01)


def test_the_plan_is_what_the_keys_say():
    keys = {"gpus_per_replica": 0.5, "replicas": 2, "max_replicas": 6, "batch": 32, "latency_ms": 25, "deploy": False}
    plan = ray(address="ray://head:10001", **keys).plan()
    assert (plan.address, plan.gpus, plan.replicas, plan.max_replicas) == ("ray://head:10001", 0.5, 2, 6)
    assert (plan.batch, plan.latency_seconds, plan.deploys) == (32, 0.025, False)


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.local:6379", "[fd00::1]:6379", "ray://[::1]:10001"])
def test_addresses(address):
    assert ray(address=address).plan().address == address


@pytest.mark.parametrize(
    ("address", "place"),
    [("auto", None), ("local", None), ("", None), ("head:6379", ("head", 6379)), ("ray://[::1]:10001", ("::1", 10001))],
)
def test_where_a_cluster_is_somewhere(address, place):
    assert ray(address=address).place() == place


def test_the_token_comes_from_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("0123\n")
    assert ray(address="auto", token_file=str(file)).plan().token == "0123"  # noqa: S105 - of a test


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"address": "http://head:8265"}, 'model.ray.address: give "" for a cluster of its own'),
        ({"address": "head"}, "model.ray.address"),
        ({"address": "head:65536"}, "a port is 1 to 65535"),
        ({"address": "ray://[::1]:0"}, "a port is 1 to 65535"),
        ({"replicas": 4, "max_replicas": 2}, "max_replicas 2 is below replicas 4; make it the larger one"),
        ({"gpus_per_replica": 1.5}, "gpus_per_replica above 1 is a whole number"),
        ({"replicas": 0}, "model.ray.replicas"),
        ({"application": "a b"}, "model.ray.application"),
        ({"token": True}, "token is not true or false"),
        ({"adress": "auto"}, "did you mean 'address'"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_says_why(keys, problem):
    with pytest.raises(ConfigurationError) as error:
        ray(**keys)
    assert problem in str(error.value)
