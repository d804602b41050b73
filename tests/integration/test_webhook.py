"""Webhooks at a real HTTP server that takes, refuses, redirects or hangs."""

import hashlib
import hmac
import json
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
from support.certificates import Authority
from support.http_peer import Said, http_peer, server_tls

from triage_agent.delivery.webhook import Webhook
from triage_agent.domain.errors import DeliveryError
from triage_agent.notification import build_outlets, send_test
from triage_agent.settings import build_settings

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
SECRET = "s3cret-of-ours"  # noqa: S105


def outlet(port, path="/hooks/abc?x=1", scheme="http", **changes):
    channel = {"name": "chat", "on": ["stat"], "url": f"{scheme}://127.0.0.1:{port}{path}", "timeout_seconds": 0.5}
    return build_outlets(build_settings({"notify": {"webhook": [{**channel, **changes}]}}, "test"))["chat"]


def test_a_document_arrives_with_its_signature_and_token():
    with http_peer(Said(204)) as peer:
        sending = outlet(peer.port, secret=SECRET, token="tok-en")  # noqa: S106
        send_test(sending, "chat", AT)
        sending.close()
        (asked,) = peer.asked
    assert (asked.method, asked.path) == ("POST", "/hooks/abc?x=1")
    assert asked.headers["authorization"] == "Bearer tok-en"
    expected = hmac.new(SECRET.encode(), asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["x-triage-signature-256"] == f"sha256={expected}"
    told = json.loads(asked.body)
    assert told["id"] == asked.headers["x-triage-notice"]
    assert told["notices"] == [{"event": "test", "at": AT.isoformat()}]


def test_without_token_and_secret_it_has_neither_header():
    with http_peer(Said(200)) as peer:
        sending = outlet(peer.port)
        send_test(sending, "chat", AT)
        sending.close()
        (asked,) = peer.asked
    assert not {"authorization", "x-triage-signature-256"} & asked.headers.keys()


def failure(answer):
    with http_peer(answer) as peer:
        sending = outlet(peer.port, secret=SECRET)
        with pytest.raises(DeliveryError) as caught:
            send_test(sending, "chat", AT)
        sending.close()
        asked = list(peer.asked)
    assert SECRET not in str(caught.value)
    assert "/hooks" not in str(caught.value)  # a webhook's path is its password
    return caught.value, asked


@pytest.mark.parametrize(
    ("status", "permanent", "away"), [(500, False, False), (503, False, True), (403, False, False), (410, True, False)]
)
def test_what_is_refused_is_sent_again_unless_it_is_for_good(status, permanent, away):
    error, _ = failure(Said(status, body=b"Doe^Jane"))
    assert (error.permanent, error.away, str(status) in str(error)) == (permanent, away, True)
    assert "Doe" not in str(error)


def test_a_redirection_is_not_followed():
    with http_peer(Said(200)) as elsewhere:
        error, asked = failure(Said(307, headers={"Location": f"http://127.0.0.1:{elsewhere.port}/"}))
        assert elsewhere.asked == []
    assert (len(asked), error.permanent, "give the url" in error.remedy) == (1, False, True)


def test_500_and_then_taken():
    answers = [Said(500), Said(200)]
    with http_peer(lambda _asked: answers.pop(0)) as peer:
        sending = Webhook(outlet(peer.port)._webhook._endpoint, "/")
        with pytest.raises(DeliveryError):
            sending.send("1", b"{}")
        sending.send("1", b"{}")
        sending.close()
        assert [asked.headers["x-triage-notice"] for asked in peer.asked] == ["1", "1"]


def test_one_that_hangs_costs_its_time_and_no_more():
    ended = threading.Event()
    with http_peer(lambda _asked: ended.wait(5) and None) as peer:
        sending, started = outlet(peer.port), time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            send_test(sending, "chat", AT)
        sending.close()
        ended.set()
    assert time.monotonic() - started < 4
    assert (caught.value.away, caught.value.permanent) == (True, False)


def test_nobody_there_is_said():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeliveryError, match="refused"):
        send_test(outlet(port), "chat", AT)


def test_the_certificate_must_be_the_server_s(tmp_path):
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "two", "Other")
    tls = server_tls(authority.files("chat"), require_client=False)
    with http_peer(Said(200), tls) as peer:
        for ca in (authority.ca, other.ca):
            sending = outlet(peer.port, scheme="https", ca=str(ca))
            if ca is other.ca:
                with pytest.raises(DeliveryError, match="TLS"):
                    send_test(sending, "chat", AT)
            else:
                send_test(sending, "chat", AT)
            sending.close()
        assert len(peer.asked) == 1


def test_check_sends_no_notice():
    with http_peer(Said(405)) as peer:
        sending = outlet(peer.port)
        assert "answers (405 to HEAD" in sending.check()
        sending.close()
        assert [asked.method for asked in peer.asked] == ["HEAD"]
    with http_peer(Said(404)) as peer:
        sending = outlet(peer.port)
        with pytest.raises(DeliveryError, match="check the url"):
            sending.check()
        sending.close()
