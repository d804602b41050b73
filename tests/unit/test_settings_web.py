"""The tables of what answers HTTP."""

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import build_settings

TOKEN = "s3cret-" * 4


def web(**values):
    return build_settings({"web": values}, "test.toml").web


def token(**changes):
    return {"name": "EDGE", "token": TOKEN, "may": ["store"], **changes}


def test_nothing_is_switched_on_by_itself():
    assert (web().stow, web().tokens, web().tls) == (False, (), None)


def test_a_token_can_be_in_a_file(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    given = {"name": "EDGE", "token_file": str(tmp_path / "token"), "may": ["store"]}
    assert web(stow=True, tokens=[given]).tokens[0].token == TOKEN


@pytest.mark.parametrize("right", ["query", "ups"])
def test_workitems_are_served_where_somebody_may_look(right):
    assert web(ups=True, tokens=[token(may=[right])]).ups


def test_a_certificate_of_each_caller_may_stand_in_the_place_of_tokens():
    assert web(stow=True, tls={"certificate": "a.pem", "key": "a.key", "ca": "ca.pem"}).stow


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"stow": True}, "stow = true and nobody may store"),
        ({"stow": True, "tokens": [token(may=["read"])]}, "stow = true and nobody may store"),
        ({"results": True, "tokens": [token()]}, "results = true and nobody may read"),
        ({"ups": True, "tokens": [token()]}, "ups = true and nobody may ups"),
        ({"stow": True, "tls": {"certificate": "a", "key": "b"}}, "stow = true and nobody may store"),
        ({"tokens": [token(token=TOKEN[:19])]}, "openssl rand"),
        ({"tokens": [token(token=TOKEN + " \n")]}, "openssl rand"),
        ({"tokens": [token(name="A" * 17)]}, "web.tokens.0.name"),
        ({"tokens": [token(), token(name="OTHER")]}, "one name or one token"),
        ({"tokens": [token(may=[])]}, "web.tokens.0.may"),
        ({"tls": {"certificate": "a", "key_file": "b"}}, "key_file: write key"),
        ({"stov": True}, "unknown key 'web.stov'; did you mean 'stow'?"),
    ],
)
def test_what_cannot_work_is_one_line_without_any_secret(values, says):
    with pytest.raises(ConfigurationError) as caught:
        web(**values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


OIDC = {"issuer": "https://sso.example/r", "client_id": "c", "roles": {"admin": ["it"]}}
PUBLIC = {"public_url": "https://triage.example"}


def test_a_provider_has_groups_for_roles_and_a_secret_in_a_file(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    oidc = web(**PUBLIC, oidc={**OIDC, "client_secret_file": str(tmp_path / "secret")}).oidc
    assert oidc.client_secret == "s3cret"  # noqa: S105 - of nobody
    assert oidc.groups() == {"admin": frozenset({"it"})}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"oidc": OIDC}, "[web.oidc] without public_url"),
        ({**PUBLIC, "oidc": {**OIDC, "issuer": "http://sso.example"}}, "give an https url"),
        ({**PUBLIC, "oidc": {**OIDC, "roles": {}}}, "web.oidc.roles"),
        ({**PUBLIC, "oidc": {**OIDC, "roles": {"service": ["it"]}}}, "web.oidc.roles"),
        ({**PUBLIC, "oidc": {**OIDC, "scopes": ["profile"]}}, "openid"),
        ({"secrets_key": "s3cret"}, "secrets_key is too short"),
        ({"second_factor": ["service"]}, "web.second_factor"),
        ({"second_factor": ["surgeon"]}, "web.second_factor"),
    ],
)
def test_a_sign_in_that_cannot_be_trusted_is_one_line(values, says):
    with pytest.raises(ConfigurationError) as caught:
        web(**values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        ({}, False),
        ({"host": "0.0.0.0"}, True),  # noqa: S104 - every address of the machine is what is asked about
        ({"host": "localhost"}, False),
        ({"host": "10.0.0.1", "public_url": "https://triage.hospital"}, False),
        ({"host": "10.0.0.1", "public_url": "http://triage.hospital"}, True),
        ({"host": "10.0.0.1", "tls": {"certificate": "a.pem", "key": "a.key"}}, False),
    ],
    ids=str,
)
def test_what_a_network_would_see_unencrypted_is_known(values, plain):
    assert web(**values).is_plain is plain
