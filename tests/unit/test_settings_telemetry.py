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
        ({"traces": "https://collector/v1/traces", "token": "two words"}, "bearer token"),
        ({"traces": "http://collector:4318/v1/traces", "token": "hush"}, "unencrypted"),
        ({"traces": "http://collector:99999/v1/traces"}, "a port is 1 to 65535"),
        ({"traces": "http://collector:0/v1/traces"}, "a port is 1 to 65535"),
        ({"traces": "http://collector:x/v1/traces"}, "a port is 1 to 65535"),
        ({"traces": "https://user:hush@collector/v1/traces"}, "give a token instead"),
        ({"traces": "https:///v1/traces"}, "telemetry.traces is not http"),
        ({"traces": "https://[::1/v1/traces"}, "telemetry.traces is not http"),
        ({"traces": "https://collector/v1 traces"}, "telemetry.traces is not http"),
        ({"traces": "https://collector/v1/traces#a"}, "telemetry.traces is not http"),
        ({"traces": "http://collector/v1/traces", "ca": "/dev/null"}, "http has none; give traces with https"),
        (
            {"traces": "https://collector/v1/traces", "ca": "/nowhere/ca.pem"},
            "telemetry.ca is no file .* /nowhere/ca.pem",
        ),
        ({"traces": "https://collector/v1/traces", "ca": "/tmp"}, "telemetry.ca is no file"),  # noqa: S108 - a folder
        ({"token": "hush"}, "telemetry.token is without effect while telemetry.traces is empty"),
        ({"ca": "/etc/ssl/ca.pem"}, "telemetry.ca is without effect"),
    ],
)
def test_what_cannot_be_used_is_refused_without_repeating_a_token(keys, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        telemetry(**keys)
    assert keys.get("token", "hush") not in str(caught.value)


@pytest.mark.parametrize(
    ("traces", "called"),
    [
        ("http://127.0.0.1:4318/v1/traces", ("127.0.0.1", 4318, False)),
        ("https://collector/v1/traces", ("collector", 443, True)),
        ("http://[::1]/v1/traces", ("::1", 80, False)),
    ],
)
def test_who_is_called_is_known(traces, called):
    assert telemetry(traces=traces).collector() == called
