import json
import urllib.error
import urllib.request

import pytest

from triage_agent.domain.errors import ConfigurationError, TriageError
from triage_agent.web.app import build_app
from triage_agent.web.server import ServerTls, WebServer


@pytest.fixture
def served(free_port):
    servers = []

    def serve(checks):
        server = WebServer(build_app(checks, lambda: b"metric 1\n", "9.9"), "127.0.0.1", free_port)
        server.start()
        servers.append(server)

        def get(path):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{free_port}{path}", timeout=30) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        return get

    yield serve
    for server in servers:
        server.stop()


def fails():
    raise TriageError("no room", remedy="free some disk")


def test_a_process_that_is_up_says_so(served):
    assert served({})("/healthz") == (200, b'{"status":"up","version":"9.9"}')


def test_readiness_is_200_when_every_check_passes(served):
    assert served({"disk": lambda: None})("/readyz")[0] == 200


def test_readiness_is_503_and_names_the_part_and_the_remedy_when_a_check_fails(served):
    status, body = served({"disk": fails, "model": lambda: None})("/readyz")
    assert status == 503
    assert json.loads(body)["problems"] == {"disk": "no room; free some disk"}


def test_a_part_that_comes_while_readiness_is_asked_breaks_nothing(served):
    checks = {}
    checks["start"] = lambda: checks.update(disk=fails)
    get = served(checks)
    assert [get("/readyz")[0], get("/readyz")[0]] == [200, 503]


def test_metrics_are_served_as_text(served):
    assert served({})("/metrics") == (200, b"metric 1\n")


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/studies/1.2"])
def test_nothing_else_answers(served, path):
    assert served({})(path)[0] == 404


def test_a_port_in_use_is_a_configuration_error(served, free_port):
    served({})
    with pytest.raises(ConfigurationError, match="cannot listen"):
        WebServer(build_app({}, lambda: b"", "1"), "127.0.0.1", free_port).start()


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ((), "certificate {folder}/web.pem: no such file or directory"),
        (("web.pem",), "key {folder}/web.key: no such file or directory"),
        (("web.pem", "web.key"), "ca {folder}/ca.pem: no such file or directory"),
        (("web.pem", "web.key", "ca.pem"), "certificate {folder}/web.pem, key {folder}/web.key, ca {folder}/ca.pem"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_a_configuration_error_that_names_the_file(
    there, says, free_port, tmp_path
):
    for name in there:
        (tmp_path / name).write_bytes(b"no certificate")
    tls = ServerTls(certificate=tmp_path / "web.pem", key=tmp_path / "web.key", ca=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"\[web.tls\] cannot be used") as raised:
        WebServer(build_app({}, lambda: b"", "9.9"), "127.0.0.1", free_port, tls).start()
    assert says.format(folder=tmp_path) in raised.value.message
    assert "web certificate" in raised.value.remedy
