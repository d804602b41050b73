"""The tables of peers that speak HTTP."""

import base64

import pytest

from triage_agent.domain.errors import ConfigurationError
from triage_agent.settings import build_settings

SECRET = "kY9~very.secret"  # noqa: S105 - of nobody


def settings(table="dicomweb", routes=(), **peer):
    peer = {"name": "web", "url": "https://pacs.hospital/dicom-web", **peer}
    return build_settings({table: {"peers": [peer]}, "routes": list(routes)}, "test.toml")


def endpoint(**peer):
    return settings(**peer).dicomweb.peers[0].endpoint()


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://pacs.hospital/dicom-web", ("pacs.hospital", 443, True, "/dicom-web")),
        ("http://127.0.0.1:8042/dicom-web/", ("127.0.0.1", 8042, False, "/dicom-web")),
        ("https://[::1]:8443", ("::1", 8443, True, "")),
        ("http://pacs", ("pacs", 80, False, "")),
    ],
)
def test_a_url_says_where_a_peer_is(url, where):
    there = endpoint(url=url)
    assert (there.host, there.port, there.http.secure, there.http.path) == where


def test_a_token_can_be_in_a_file_and_is_shown_nowhere(tmp_path):
    (tmp_path / "token").write_text(SECRET + "\n")
    there = endpoint(token_file=str(tmp_path / "token"))
    assert there.http.authorization == f"Bearer {SECRET}"
    assert SECRET not in f"{there!r} {there}"


def test_user_and_password_are_basic_authentication():
    said = endpoint(user="alice", password="ö:1").http.authorization  # noqa: S106 - of nobody
    assert base64.b64decode(said.removeprefix("Basic ")).decode() == "alice:ö:1"


@pytest.mark.parametrize(
    ("peer", "says"),
    [
        ({"url": "ftp://pacs"}, "is not http(s)://host"),
        ({"url": "https://alice:secret@pacs"}, "is not http(s)://host"),
        ({"url": "https://pacs?x=1"}, "is not http(s)://host"),
        ({"url": "https://pacs:99999"}, "is not http(s)://host"),
        ({"url": "https://pacs/a b"}, "is not http(s)://host"),
        ({"url": "https://"}, "is not http(s)://host"),
        ({"url": "https://[::1"}, "is not http(s)://host"),
        ({"token": f"{SECRET}\r\nX: y"}, "no bearer token has"),
        ({"token": SECRET, "user": "a", "password": SECRET}, "not both"),
        ({"user": "a"}, "both user and password"),
        ({"user": "a:b", "password": SECRET}, "a user has no colon"),
        ({"certificate": "a.pem"}, "certificate and key, or neither"),
        ({"url": "http://pacs", "ca": "a.pem"}, "give it an https url"),
        ({"key_file": "a.key"}, "key_file: write key"),
        ({"tokn": SECRET}, "unknown key 'dicomweb.peers.0.tokn'; did you mean 'token'?"),
        ({"routes": [{"to": "web", "send": ["hl7-oru"]}]}, "which is not one of [[hl7.peers]]"),
        ({"routes": [{"to": "web", "send": ["sr"], "commit": True}]}, "which is not one of [[dicom.peers]]"),
    ],
)
def test_what_cannot_work_is_one_line_without_any_secret(peer, says):
    with pytest.raises(ConfigurationError) as caught:
        settings(**peer)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", ["sr", "sr-text", "gsps", "sc", "kos", "pdf"])
def test_any_object_may_be_routed_there(kind):
    assert settings(routes=[{"to": "web", "send": [kind]}]).routes[0].to == "web"
