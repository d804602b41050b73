"""The parts of compose.yaml as processes, with compose's own files: a study's way from Orthanc and back to it."""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import create_engine, text
from support import warm
from support.agent import COMMAND, eventually
from support.deployed import DEPLOY, documents
from support.ports import free_port
from support.postgres import postgres_cluster, postgres_database, postgres_program
from support.programs import require_program
from support.xrays import radiograph

from triage_agent.worklist.privileges import excess_grants, missing_grants

pytestmark = pytest.mark.external

COMPOSE = DEPLOY / "compose"
(SERVICES,) = (compose["services"] for compose in documents(COMPOSE / "compose.yaml"))
NAMES = ("listener", "worker", "web")


def replaced(content, **by):
    """A text with something else in the place of each of some words, which must be in it."""
    for word, other in by.values():
        assert word in content
        content = content.replace(word, other)
    return content


class Parts:
    """Postgres, Orthanc and the three roles, with ports and folders of this test's."""

    def __init__(self, folder, database):
        self.folder = folder
        self.database = database
        self.secrets = folder / "secrets"
        subprocess.run(["/bin/sh", COMPOSE / "secrets.sh", self.secrets], check=True, capture_output=True, timeout=30)
        for role in ("owner", "agent"):  # the server of the test listens on a socket, and asks for no password
            url = self.secrets / f"{role}-url"
            url.chmod(0o600)
            url.write_text(str(database.set(username=f"triage_{role}").render_as_string(hide_password=False)))
        self.dicom, self.pacs, self.pacs_web = free_port(), free_port(), free_port()
        self.web = {name: free_port() for name in NAMES}
        self.config = folder / "agent.toml"
        self.config.write_text(
            replaced(
                (COMPOSE / "agent.toml").read_text(),
                peer=('host = "orthanc"\nport = 4242', f'host = "127.0.0.1"\nport = {self.pacs}'),
                folder=('"/var/lib/triage-agent"', f'"{folder}/var"'),
                port=("port = 11112", f"port = {self.dicom}"),
                quiet=("quiet_seconds = 15", "quiet_seconds = 0.5"),
            )
        )
        self._running = []

    def environment(self, service, **more):
        """What compose.yaml gives to a service, with files of this test's."""
        given = {
            name: str(value).replace("/run/secrets", str(self.secrets))
            for name, value in SERVICES[service]["environment"].items()
        }
        return {**os.environ, "TRIAGE_AGENT_CONFIG": str(self.config), **given, **more}

    def run(self, service):
        """A service that ends, to its end."""
        log = self.folder / f"{service}.log"
        with log.open("wb") as out:
            started = warm.start(
                [str(COMMAND), *SERVICES[service]["command"]],
                stdout=out,
                stderr=out,
                environment=self.environment(service),
            )
            assert started.wait(60) == 0, log.read_text()

    def make_roles(self):
        """What the image of Postgres runs once."""
        self._psql_environment = {
            **os.environ,
            "PATH": f"{Path(postgres_program('psql')).parent}:{os.environ['PATH']}",
            "PGHOST": self.database.query["host"],
            "POSTGRES_USER": "triage",
            "POSTGRES_DB": self.database.database,
            "SECRETS": str(self.secrets),
            "GRANTS": str(DEPLOY / "postgres" / "grants.sql"),
        }
        self._sh([COMPOSE / "postgres" / "roles.sh"])

    def grant_again(self):
        """The service `grants`, by its own line."""
        (script,) = SERVICES["grants"]["command"]
        script = replaced(
            script.replace("$$", "$"),
            secrets=("/run/secrets", str(self.secrets)),
            grants=("/grants.sql", str(DEPLOY / "postgres" / "grants.sql")),
            server=("--host postgres", f"--host {self.database.query['host']}"),
            database=("--dbname triage", f"--dbname {self.database.database}"),
        )
        self._sh(["-euc", script])

    def _sh(self, arguments):
        done = subprocess.run(
            ["/bin/sh", *arguments],
            env=self._psql_environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def serve(self, role):
        """A role, as compose.yaml starts it."""
        port = {"TRIAGE_AGENT__WEB__PORT": str(self.web[role]), "TRIAGE_AGENT__MODEL__THREADS": "1"}
        with (self.folder / f"{role}.log").open("wb") as log:
            command = [str(COMMAND), *SERVICES[role]["command"]]
            self._running.append(
                warm.start(command, stdout=log, stderr=log, environment=self.environment(role, **port))
            )

    def answers(self, role, path):
        """What a role's web server says: (status, body); (0, "") where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web[role]}/{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def start_orthanc(self):
        """Orthanc on a folder with compose's files, as it is mounted there."""
        etc, store = self.folder / "etc", self.folder / "store"
        etc.mkdir()
        store.mkdir()
        shutil.copy(COMPOSE / "orthanc" / "route.lua", etc)
        shutil.copy(self.secrets / "orthanc-users.json", etc / "users.json")
        said = replaced(
            (COMPOSE / "orthanc" / "orthanc.json").read_text(),
            store=("/var/lib/orthanc/db", str(store)),
            script=("/etc/orthanc/route.lua", str(etc / "route.lua")),
            agent=('"Host": "listener", "Port": 11112', f'"Host": "127.0.0.1", "Port": {self.dicom}'),
            port=('"DicomPort": 4242', f'"DicomPort": {self.pacs}'),
            web=('"HttpPort": 8042', f'"HttpPort": {self.pacs_web}'),
        )
        (etc / "orthanc.json").write_text(said)
        program = require_program("/usr/sbin/Orthanc", "Orthanc")
        with (self.folder / "orthanc.log").open("wb") as log:
            self._running.append(subprocess.Popen([program, str(etc)], stdout=log, stderr=log))
        eventually(lambda: self.ask_orthanc("system", missing=OSError))

    def ask_orthanc(self, path, query=None, missing=()):
        """What its REST API answers to the user of the secrets."""
        ((user, password),) = json.loads((self.secrets / "orthanc-users.json").read_text())["RegisteredUsers"].items()
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        body = None if query is None else json.dumps(query).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.pacs_web}/{path}", data=body, headers={"Authorization": f"Basic {basic}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - of this machine
                return answer.read()
        except missing:
            return None

    def reports(self, study_instance_uid):
        """The structured reports that Orthanc has of a study."""
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": str(study_instance_uid), "Modality": "SR"}}
        numbers = json.loads(self.ask_orthanc("tools/find", query))
        return [dcmread(BytesIO(self.ask_orthanc(f"instances/{number}/file"))) for number in numbers]

    def close(self):
        """Leave nothing behind."""
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compose")
    with postgres_cluster() as cluster, postgres_database(cluster.url, "triage_compose") as url:
        engine = create_engine(url)
        made = Parts(folder, engine.url)
        try:
            made.make_roles()
            made.run("migrate")
            made.grant_again()
            for role in NAMES:
                made.serve(role)
            made.start_orthanc()
            for role in NAMES:
                eventually(lambda role=role: made.answers(role, "readyz")[0] == 200)
            yield made
        finally:
            made.close()
            engine.dispose()


def store(port, path):
    return subprocess.run(
        [require_program("/usr/bin/storescu"), "-aec", "ORTHANC", "127.0.0.1", str(port), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_study_that_the_pacs_has_goes_to_the_agent_and_its_report_comes_back(parts, tmp_path):
    image = radiograph(seed=5)
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    sent = store(parts.pacs, tmp_path / "image.dcm")
    assert sent.returncode == 0, sent.stderr
    (report,) = eventually(lambda: parts.reports(image.StudyInstanceUID))
    assert report.PatientID == image.PatientID
    # What came back is not sent once more.
    assert 'triage_store_answers_total{status="0x0000"} 1.0' in parts.answers("listener", "metrics")[1]


def test_the_agents_role_may_do_what_it_needs_and_nothing_more(parts):
    engine = create_engine(parts.database.set(username="triage_agent"))
    try:
        assert (missing_grants(engine), excess_grants(engine)) == ([], [])
    finally:
        engine.dispose()


def test_the_roles_have_the_passwords_of_the_secrets(parts):
    engine = create_engine(parts.database)
    with engine.connect() as connection:
        kept = connection.execute(
            text("SELECT rolname, rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolname LIKE 'triage\\_%'")
        )
        assert {tuple(row) for row in kept} == {("triage_owner", True), ("triage_agent", True)}
    engine.dispose()


def test_nobody_gets_into_the_pacs_without_the_password_of_the_secrets(parts):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{parts.pacs_web}/system", timeout=10)
    with refused.value as answer:
        assert answer.code == 401


def test_the_pages_are_those_of_the_web_role_alone(parts):
    assert parts.answers("web", "login")[0] == 200
    assert parts.answers("listener", "login")[0] == 404
    for role in NAMES:
        assert "triage_waiting_studies" in parts.answers(role, "metrics")[1]


def probed(address):
    """The images' health check of an address: (exit code, what it says)."""
    done = subprocess.run(
        [sys.executable, DEPLOY / "docker" / "probe.py"],
        env={**os.environ, "PROBE": address},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("path", ["healthz", "readyz"])
def test_the_images_health_check_ends_well_where_the_agent_answers(parts, path):
    for role in NAMES:
        assert probed(f"http://127.0.0.1:{parts.web[role]}/{path}") == (0, "")


def test_the_images_health_check_fails_where_nobody_does(parts, free_port):
    code, said = probed(f"http://127.0.0.1:{free_port}/healthz")
    assert code == 1
    assert "refused" in said
    assert probed(f"http://127.0.0.1:{parts.web['listener']}/login")[0] == 1
