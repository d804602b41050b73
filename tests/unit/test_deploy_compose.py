"""compose.yaml holds together, and every container of it is contained."""

import re
import stat
import subprocess

import pytest
import yaml
from support.deployed import DEPLOY, documents, known_variable, settled_environment, stages

from triage_agent.cli.serving import Role
from triage_agent.settings import load_settings

FOLDER = DEPLOY / "compose"
(COMPOSE,) = documents(FOLDER / "compose.yaml")
SERVICES = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if str(service["image"]).startswith("triage-agent:")}
ONCE = {"migrate", "grants", "backup"}  # what ends by itself
_DEFAULTS = dict(
    line.split("=", 1) for line in (FOLDER / ".env").read_text().splitlines() if line and not line.startswith("#")
)
ports = [(name, port) for name, service in SERVICES.items() for port in service.get("ports", [])]


@pytest.fixture
def secrets(tmp_path):
    """What secrets.sh makes."""
    done = subprocess.run(
        ["/bin/sh", FOLDER / "secrets.sh", tmp_path / "secrets"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return tmp_path / "secrets"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_write_and_do_little_and_is_bounded(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"orthanc"}))
def test_all_but_the_try_out_pacs_run_as_somebody_else_than_root(name):
    assert str(SERVICES[name]["user"]).partition(":")[0] not in {"0", "root"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE - OURS))
def test_what_goes_on_running_is_asked_how_it_is(name):
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize(("name", "port"), ports)
def test_a_port_is_open_on_this_machine_alone_until_the_site_says_otherwise(name, port):
    assert port.startswith("${BIND:-127.0.0.1}:")
    assert _DEFAULTS["BIND"] == "127.0.0.1"


def test_what_env_sets_is_what_compose_asks_for_with_the_same_defaults():
    asked = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (FOLDER / "compose.yaml").read_text()))
    set_here = {name: value for name, value in _DEFAULTS.items() if not name.startswith("COMPOSE_")}
    assert asked == set_here


def test_every_image_that_is_not_ours_has_a_version():
    for name in ("POSTGRES", "ORTHANC", "PROMETHEUS", "GRAFANA"):
        assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", _DEFAULTS[f"{name}_IMAGE"])


def test_the_profiles_that_are_on_are_there_and_one_of_them_scores():
    there = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    on = set(_DEFAULTS["COMPOSE_PROFILES"].split(","))
    assert on <= there
    assert on & {"cpu", "gpu"}


def test_every_role_has_a_service_and_is_built_from_a_stage_that_there_is():
    roles = set()
    for name in OURS - ONCE:
        serve, option, role = SERVICES[name]["command"]
        assert (serve, option) == ("serve", "--role")
        roles.add(Role(role))
    assert roles == set(Role) - {Role.ALL}
    there = stages(DEPLOY / "docker" / "Dockerfile")
    for name in OURS:
        assert SERVICES[name]["build"]["target"] in there
        assert SERVICES[name]["image"] == f"triage-agent:{SERVICES[name]['build']['target']}"
        assert (FOLDER / SERVICES[name]["build"]["context"] / SERVICES[name]["build"]["dockerfile"]).is_file()


def test_its_variables_are_keys_of_the_configuration():
    names = {name for service in OURS for name in SERVICES[service]["environment"]}
    assert names
    assert [name for name in names if not known_variable(name)] == []


def test_a_stop_has_longer_than_the_agent_takes():
    for name in OURS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30


def test_what_is_mounted_is_there():
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    mounted = [volume.split(":") for volume in volumes if isinstance(volume, str)]
    assert mounted
    for source, _, *mode in mounted:
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert mode == ["ro"], source
        else:
            assert source in COMPOSE["volumes"]


def test_nobody_but_the_backup_can_reach_its_folder_which_nobody_makes_unasked():
    bound = {
        name: volume
        for name, service in SERVICES.items()
        for volume in service.get("volumes", [])
        if not isinstance(volume, str)
    }
    assert bound.keys() == {"backup"}
    assert SERVICES["backup"]["profiles"] == ["backup"]
    assert bound["backup"]["source"] == "${BACKUP:-./backup}"
    assert bound["backup"]["bind"] == {"create_host_path": False}  # Docker would make it as root's
    assert SERVICES["backup"]["command"][-1].startswith(bound["backup"]["target"])
    assert "backup/" in (FOLDER / ".gitignore").read_text().splitlines()


def test_what_the_page_has_an_admin_type_names_services_and_secrets_that_there_are():
    page = (DEPLOY.parent / "docs" / "deployment.md").read_text()
    lines = re.findall(r"^    docker compose (?:exec|run) .*", page, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        words = [word for word in line.split() if not word.startswith("--")]
        (service, *_) = [word for word in words[3:] if word != "cp"]  # of --entrypoint
        assert service in SERVICES, line
        given = SERVICES[service]["secrets"]
        assert set(re.findall(r"/run/secrets/([\w-]+)", line)) <= set(given), line


def test_every_secret_is_made_once_at_random_and_is_nobodys_else(secrets):
    wanted = {entry["file"].removeprefix("./secrets/") for entry in COMPOSE["secrets"].values()}
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert wanted <= made.keys()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    subprocess.run(["/bin/sh", FOLDER / "secrets.sh", secrets], capture_output=True, timeout=30, check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made
    passwords = [made[name] for name in made if name.endswith("-password")]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[0-9a-f]{48}\n", password) for password in passwords)
    assert made["agent-url"] == f"postgresql+psycopg://triage_agent:{made['agent-password'].strip()}@postgres/triage\n"


def test_no_password_stands_in_any_file_of_it():
    for path in FOLDER.rglob("*"):
        if path.is_file() and "secrets" not in path.relative_to(FOLDER).parts:
            for line in path.read_text().splitlines():
                assert not re.search(r"password[\"']?\s*[:=]\s*[\"']?[\w]{3,}$", line, re.IGNORECASE), f"{path}: {line}"


def test_the_secrets_are_kept_out_of_the_repository():
    assert "secrets/" in (FOLDER / ".gitignore").read_text().splitlines()


def test_its_configuration_is_one_and_listens_where_compose_looks(monkeypatch, secrets):
    settled_environment(monkeypatch, TRIAGE_AGENT__DATABASE__URL_FILE=secrets / "agent-url")
    settings = load_settings(FOLDER / "agent.toml")
    assert settings.database_url.startswith("postgresql+psycopg://triage_agent:")
    assert {settings.dicom.host, settings.web.host} == {"0.0.0.0"}  # noqa: S104 - of a container
    assert SERVICES["listener"]["ports"][0].endswith(f":{settings.dicom.port}")
    assert SERVICES["web"]["ports"][0].endswith(f":{settings.web.port}")
    assert str(settings.data_dir) == "/var/lib/triage-agent"
    (peer,) = settings.dicom.peers
    assert peer.host in SERVICES


def test_prometheus_asks_every_role_and_grafana_finds_its_boards():
    (prometheus,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    job = next(job for job in prometheus["scrape_configs"] if job["job_name"] == "triage-agent")
    (found,) = job["dns_sd_configs"]
    assert set(found["names"]) == OURS - ONCE
    assert found["port"] == load_settings(FOLDER / "agent.toml").web.port
    folder = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards" / "triage.yml").read_text())["providers"]
    mounts = {volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounts
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
