"""QIDO-RS and WADO-RS for what we made, asked by plain HTTP and read back with pydicom."""

import json
import urllib.error
import urllib.parse
import urllib.request
from email import message_from_bytes
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from support import story
from support.agent import free_port
from support.orthanc import orthanc_server

from triage_agent.domain.errors import WorklistUnavailableError
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, AuditAction, Outcome
from triage_agent.domain.withdrawal import RejectionReason
from triage_agent.results.context import ResultContext
from triage_agent.results.rejection import rejection_notes
from triage_agent.results.structured_report import build_structured_report
from triage_agent.web.access import Access, Caller
from triage_agent.web.app import build_app
from triage_agent.web.results import Results
from triage_agent.web.server import WebServer
from triage_agent.worklist.memory import MemoryWorklist

READS, STORES = "r" * 32, "s" * 32
STUDY, OTHER = "1.2.840.99.1", "1.2.840.99.2"


def report(study):
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"{study}.1.1"
    image.SeriesInstanceUID, image.StudyInstanceUID = f"{study}.1", study
    image.PatientID, image.PatientName, image.AccessionNumber = "P1", "Åkesson^Görel", "A1"
    image.SpecificCharacterSet = "ISO_IR 192"
    scored = Assessment(sop_instance_uid=f"{study}.1.1", outcome=Outcome.SCORED, probability=0.9)
    return build_structured_report(ResultContext(result=story.decision(study), headers=(image,), assessments=(scored,)))


class Site:
    def __init__(self):
        self.worklist, self.port = MemoryWorklist(), free_port()
        self.story = story.Story(self.worklist)
        self.artifacts = {study: report(study) for study in (STUDY, OTHER)}
        for study, artifact in self.artifacts.items():
            self.story.receive(study, accession_number="A1" if study == STUDY else "A2")
            self.story.decided(
                story.shipment(artifact.uid, "pacs", body=artifact.body),
                story.shipment("2.25.77", "ris", ArtifactKind.HL7_ORU),
                study=study,
            )
        callers = (
            Caller(name="READER", token=READS, may=frozenset({"read"})),
            Caller(name="EDGE", token=STORES, may=frozenset({"store"})),
        )
        service = Results(Access(callers), self.worklist, lambda: self.story.now)
        self.server = WebServer(build_app({}, lambda: b"", "9.9", [service.router]), "127.0.0.1", self.port)
        self.server.start()

    def get(self, path, token=READS, accept="*/*", **query):
        """Status, content type and body."""
        url = f"http://127.0.0.1:{self.port}/dicom-web/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", "Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
                return answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read()

    def search(self, path, **query):
        status, kind, content = self.get(path, **query)
        assert (status, kind) == (200, "application/dicom+json")
        return [Dataset.from_json(one) for one in json.loads(content)]


@pytest.fixture
def site():
    site = Site()
    yield site
    site.server.stop()


def files(kind, content):
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
    return [part.get_payload(decode=True) for part in message.get_payload()]


@pytest.mark.parametrize(
    "query",
    [{"StudyInstanceUID": STUDY}, {"0020000D": STUDY}, {"AccessionNumber": "A1"}, {"00080050": "A1", "limit": 5}],
)
def test_a_study_is_found_by_its_uid_or_accession_number(query, site):
    (found,) = site.search("studies", **query)
    assert (found.StudyInstanceUID, found.PatientID, found.PatientName) == (STUDY, "P1", "Åkesson^Görel")
    assert (found.ModalitiesInStudy, found.NumberOfStudyRelatedInstances) == ("SR", 1)


def test_series_and_instances_are_those_that_we_made(site):
    made = dcmread(BytesIO(site.artifacts[STUDY].body))
    (series,) = site.search(f"studies/{STUDY}/series")
    (instance,) = site.search(f"studies/{STUDY}/instances")
    assert [instance] == site.search(f"studies/{STUDY}/series/{made.SeriesInstanceUID}/instances")
    assert (series.SeriesInstanceUID, series.Modality) == (made.SeriesInstanceUID, "SR")
    assert (instance.SOPInstanceUID, instance.SOPClassUID) == (made.SOPInstanceUID, made.SOPClassUID)


def test_an_object_is_retrieved_as_it_was_sent_and_that_is_audited(site):
    artifact = site.artifacts[STUDY]
    series = dcmread(BytesIO(artifact.body)).SeriesInstanceUID
    for path in (
        f"studies/{STUDY}",
        f"studies/{STUDY}/series/{series}",
        f"studies/{STUDY}/series/{series}/instances/{artifact.uid}",
    ):
        status, kind, content = site.get(path, accept='multipart/related; type="application/dicom"')
        assert status == 200
        assert content.count(artifact.body) == 1
        (file,) = files(kind, content)
        assert dcmread(BytesIO(file)).SOPInstanceUID == artifact.uid
    read = [event for event in site.worklist.study(STUDY).audit if event.action is AuditAction.RESULTS_READ]
    assert [(event.actor, event.detail["instances"]) for event in read] == [("READER", [artifact.uid])] * 3


def test_a_result_that_was_withdrawn_is_gone_and_the_note_that_says_so_is_there(site):
    made, given = site.artifacts[STUDY], {"reason": RejectionReason.QUALITY, "actor": "admin", "now": site.story.now}
    series = dcmread(BytesIO(made.body)).SeriesInstanceUID
    objects = site.worklist.objects_of(STUDY)
    (note,) = rejection_notes(STUDY, objects, RejectionReason.QUALITY, site.story.now)
    assert site.worklist.withdraw(STUDY, [note], objects, **given) == 1
    assert [one.SOPInstanceUID for one in site.search(f"studies/{STUDY}/instances")] == [note.artifact.uid]
    assert [one.Modality for one in site.search(f"studies/{STUDY}/series")] == ["KO"]
    (study,) = site.search("studies", StudyInstanceUID=STUDY)
    assert study.NumberOfStudyRelatedInstances == 1
    status, kind, content = site.get(f"studies/{STUDY}")
    assert (status, len(files(kind, content))) == (200, 1)
    for path in (f"series/{series}", f"series/{series}/instances/{made.uid}", f"series/{series}/metadata"):
        status, _, content = site.get(f"studies/{STUDY}/{path}")
        assert (status, b"was withdrawn" in content) == (410, True)
    assert site.get(f"studies/{STUDY}/series/{series}/instances/1.2.404")[0] == 404


def test_metadata_is_the_whole_object_in_json(site):
    (found,) = site.search(f"studies/{STUDY}/metadata")
    assert found == dcmread(BytesIO(site.artifacts[STUDY].body))


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("studies", {}, 400),
        ("studies", {"PatientName": "A*"}, 400),
        ("studies", {"StudyInstanceUID": "*"}, 400),
        ("studies", {"StudyInstanceUID": STUDY, "AccessionNumber": "A1"}, 400),
        ("studies", {"StudyInstanceUID": STUDY, "limit": "many"}, 400),
        ("studies", {"StudyInstanceUID": "1.2.404"}, 204),
        ("studies", {"StudyInstanceUID": STUDY, "offset": 1}, 204),
        (f"studies/{STUDY}/series/1.2.404/instances", {}, 204),
        ("studies/Lind^Eva/instances", {}, 400),
        ("studies/1.2.404", {}, 404),
        (f"studies/{STUDY}/series/1.2.404", {}, 404),
        (f"studies/{STUDY}", {"token": STORES}, 403),
        (f"studies/{STUDY}", {"token": "x"}, 401),
        ("studies", {"token": "x"}, 401),
        (f"studies/{STUDY}/metadata", {"token": ""}, 401),
        (f"studies/{STUDY}", {"accept": "image/jpeg"}, 406),
    ],
)
def test_what_is_not_there_or_not_for_the_asker_is_not_given(path, query, status, site):
    said, _, content = site.get(path, **query)
    assert said == status
    assert "Lind" not in content.decode()


@pytest.mark.external
def test_orthanc_finds_and_fetches_them(site, tmp_path):
    agent = {"Url": f"http://127.0.0.1:{site.port}/dicom-web/", "HttpHeaders": {"Authorization": f"Bearer {READS}"}}
    with orthanc_server(tmp_path, dicomweb=True, servers={"triage": agent}) as orthanc:
        query = {"Uri": "/studies", "Arguments": {"AccessionNumber": "A1"}}
        (found,) = json.loads(orthanc.ask("dicom-web/servers/triage/qido", query))
        assert STUDY in json.dumps(found)
        orthanc.ask("dicom-web/servers/triage/retrieve", {"Resources": [{"Study": STUDY}], "Synchronous": True})
        (kept,) = orthanc.reports(STUDY)
    assert kept == dcmread(BytesIO(site.artifacts[STUDY].body))


def test_a_database_that_is_away_is_told_of(site, monkeypatch):
    def away(*_):
        raise WorklistUnavailableError("away")

    monkeypatch.setattr(site.worklist, "results_of", away)
    assert site.get(f"studies/{STUDY}")[0] == 503
