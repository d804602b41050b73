"""What others' own programs find in the files of deploy/: hadolint in the Dockerfile, Compose in compose.yaml."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml
from support.deployed import DEPLOY
from support.programs import require_program

from triage_agent.cli.serving import Role

pytestmark = pytest.mark.external


def run(name, *arguments, **environment):
    """A program that pip has brought beside this Python, or the system's."""
    program = require_program(str(Path(sys.executable).with_name(name)), name)
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


def test_hadolint_finds_nothing_in_the_dockerfile():
    done = run("hadolint", "--failure-threshold", "style", DEPLOY / "docker" / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_what_is_wrong(tmp_path):
    wrong = tmp_path / "Dockerfile"
    wrong.write_text((DEPLOY / "docker" / "Dockerfile").read_text().replace("USER 10001:10001", "USER root"))
    assert run("hadolint", wrong).returncode != 0


@pytest.fixture
def composed(tmp_path):
    """What Compose makes of compose.yaml, with the profiles that are named."""
    for name in ("compose", "docker", "postgres", "prometheus", "grafana"):
        shutil.copytree(DEPLOY / name, tmp_path / "deploy" / name)
    folder = tmp_path / "deploy" / "compose"
    subprocess.run(["/bin/sh", folder / "secrets.sh"], check=True, capture_output=True, timeout=30)

    def compose(profiles):
        done = run(
            "docker-compose",
            *("--file", folder / "compose.yaml", "config", "--format", "json"),
            COMPOSE_PROFILES=profiles,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)["services"]

    return compose


@pytest.mark.parametrize(
    ("profiles", "there", "missing"),
    [
        ("cpu,tryout,monitoring", {"worker", "orthanc", "prometheus", "grafana"}, {"worker-gpu"}),
        ("gpu", {"worker-gpu", "listener", "web", "postgres"}, {"worker", "orthanc", "prometheus"}),
    ],
)
def test_compose_takes_it_and_its_profiles_choose_the_parts(composed, profiles, there, missing):
    services = composed(profiles)
    assert there <= services.keys()
    assert not missing & services.keys()
    for name, service in services.items():
        assert service["read_only"] is True, name
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name


def test_who_serves_waits_for_the_grants_and_they_for_the_tables(composed):
    services = composed("cpu,tryout,monitoring")
    for role in ("listener", "worker", "web"):
        assert services[role]["depends_on"]["grants"]["condition"] == "service_completed_successfully"
    assert services["grants"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_prometheus_takes_its_configuration(tmp_path):
    """The rules that it names have tests of their own."""
    (tmp_path / "rules.yml").write_text("groups: []\n")
    shutil.copy(DEPLOY / "prometheus" / "prometheus.yml", tmp_path)
    done = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_what_the_page_of_operations_tells_it_of_a_site_with_tls(tmp_path):
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()
    (told,) = re.findall(r"(?:^    .*\n)*^    scrape_configs:\n(?:^    .*\n)+", page, re.MULTILINE)
    (tmp_path / "prometheus.yml").write_text(textwrap.dedent(told))
    for name in ("rules.yml", "hospital-ca.pem"):
        (tmp_path / name).write_text("groups: []\n")
    done = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = yaml.safe_load(textwrap.dedent(told))["scrape_configs"]
    assert job["job_name"].startswith("triage")
    assert {one["labels"]["role"] for one in job["static_configs"]} == set(Role) - {Role.ALL}


def test_prometheus_would_find_what_is_wrong(tmp_path):
    wrong = tmp_path / "prometheus.yml"
    wrong.write_text((DEPLOY / "prometheus" / "prometheus.yml").read_text().replace("dns_sd_configs", "dns_configs"))
    (tmp_path / "rules.yml").write_text("groups: []\n")
    assert run("promtool", "check", "config", wrong).returncode != 0
