"""Whoever searches, by DIMSE or HTTP, is in the audit log before anything is shown; who polls fills it with little."""

import gc
import json
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from pydicom import Dataset
from pynetdicom import AE
from support.ports import free_port
from support.programs import require_program
from support.story import Story

from triage_agent.audit.queries import QueryLog
from triage_agent.domain.audit import AuditQuestion
from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.vocabulary import AuditAction
from triage_agent.listening import build_listener
from triage_agent.ops.metrics import Metrics
from triage_agent.settings import build_settings
from triage_agent.spooling import build_belonging
from triage_agent.web.app import build_app
from triage_agent.web.server import WebServer
from triage_agent.webservices import build_services
from triage_agent.worklist import SqlAuditLog, SqlWorklist, open_engine, upgrade

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

TOKEN = "0123456789" * 4
UPS_PULL = "1.2.840.10008.5.1.4.34.6.3"


@pytest.fixture(autouse=True)
def _no_socket_is_left_for_others():
    yield
    gc.collect()


class Site:
    """A listener and a web server on one worklist in a file, and the log of searches that both tell."""

    def __init__(self, folder):
        url = f"sqlite:///{folder}/triage.db"
        upgrade(url)
        self._engine = open_engine(url)
        self.worklist = SqlWorklist(self._engine)
        self.now, self.away = datetime.now(UTC), False
        story = Story(self.worklist)
        story.now = self.now
        story.receive(patient_id="P1", patient_name="Doe^Jane", accession_number="A1")
        peer = {"name": "ris", "ae_title": "RIS", "host": "127.0.0.1", "port": 104, "may": ["query"]}
        token = {"name": "VIEWER", "token": TOKEN, "may": ["query", "read"]}
        given = {
            "data_dir": str(folder),
            "dicom": {"port": free_port(), "peers": [peer]},
            "web": {"port": free_port(), "ups": True, "results": True, "tokens": [token]},
            "storage": {"low_water_percent": 0},
        }
        self.settings = build_settings(given, "site.toml")
        build_belonging(self.settings, self.worklist).mean()
        self.queries = QueryLog(self._record, lambda: self.now)
        rest = (self.settings, self.worklist, Metrics(), lambda: self.now)
        self._listener = build_listener(*rest, lambda *_: None, self.queries)
        self._listener.start()
        app = build_app({}, lambda: b"", "9.9", build_services(*rest, self.queries).routers)
        self._web = WebServer(app, "127.0.0.1", self.settings.web.port)
        self._web.start()

    def _record(self, event):
        if self.away:
            raise WorklistUnavailableError("away")
        self.worklist.record_audit(event)

    def recorded(self):
        question = AuditQuestion(action=AuditAction.QUERIED, limit=100)
        records = SqlAuditLog(self.worklist.database).records(question)
        return [(record.actor, json.loads(record.detail)) for record in reversed(records)]

    def get(self, path):
        url = f"http://127.0.0.1:{self.settings.web.port}{path}"
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own server
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def close(self):
        self._listener.stop(1.0)
        self._web.stop()
        self._engine.dispose()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


def findscu(site):
    """Ask for the modality worklist of all patients; the number of answers."""
    command = [require_program("/usr/bin/findscu"), "-v", "-W", "-aet", "RIS", "-aec", site.settings.dicom.ae_title]
    asked = [*command, "127.0.0.1", str(site.settings.dicom.port), "-k", "PatientName", "-k", "PatientID"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).count("(Pending)")


def ask_for_workitems(site):
    entity = AE("RIS")
    entity.add_requested_context(UPS_PULL)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    called = site.settings.dicom.ae_title
    association = entity.associate("127.0.0.1", site.settings.dicom.port, ae_title=called)
    keys = Dataset()
    keys.PatientName = keys.SOPInstanceUID = ""
    answers = [status.Status for status, _ in association.send_c_find(keys, UPS_PULL)]
    association.release()
    return answers


@pytest.mark.external
def test_a_modality_s_polling_is_one_record_and_a_count(site):
    assert [findscu(site) for _ in range(3)] == [1, 1, 1]
    (said,) = site.recorded()
    assert said == ("RIS", {"searched": "modality worklist", "queries": 1, "address": "127.0.0.1"})
    site.now += timedelta(hours=1)
    assert site.queries.step()
    (_, counted) = site.recorded()[1]
    assert (counted["queries"], counted["searched"]) == (2, "modality worklist")
    assert "Doe" not in str(site.recorded())


def test_searches_for_workitems_and_results_are_recorded_for_who_made_them(site):
    assert ask_for_workitems(site)[-1] == 0x0000
    assert site.get("/dicom-web/workitems") == 200
    assert site.get("/dicom-web/studies?AccessionNumber=A1") == 204
    assert [(actor, detail["searched"], detail["queries"]) for actor, detail in site.recorded()] == [
        ("RIS", "workitems", 1),
        ("VIEWER", "workitems", 1),
        ("VIEWER", "results", 1),
    ]


def test_what_cannot_be_recorded_is_not_shown(site):
    site.away = True
    assert ask_for_workitems(site) == [0xA700]
    assert (site.get("/dicom-web/workitems"), site.get("/dicom-web/studies?AccessionNumber=A1")) == (503, 503)
    assert site.recorded() == []
