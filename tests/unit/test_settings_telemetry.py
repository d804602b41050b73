"""Where traces go, and what is refused."""

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import Settings, build_settings


def telemetry(**keys):
    return build_settings({"telemetry": keys}, "agent.toml").telemetry


def test_no_traces_are_made_by_default():
    assert Settings().telemetry.traces == ""


def test_a_collector_on_this_machine_may_be_told_without_tls():
    assert telemetry(traces="http://[::1]:4318/v1/traces", token="abc").share == 1.0  # noqa: S106 - of nobody


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"traces": "collector:4318"}, "telemetry.traces"),
        ({"share": 2}, "telemetry.share"),
        ({"token": "two words"}, "bearer token"),
        ({"traces": "http://collector:4318/v1/traces", "token": "hush"}, "unencrypted"),
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_a_token(keys, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        telemetry(**keys)
    assert keys.get("token", "hush") not in str(caught.value)
