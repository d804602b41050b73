"""STOW-RS to Orthanc's DICOMweb plug-in, and by mutual TLS to a server of the test's own."""

import json
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from support import story
from support.certificates import Authority
from support.http_peer import Said, http_peer, server_tls
from support.orthanc import PASSWORD, orthanc_server

from triage_agent.delivery.registry import REGISTRY
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.study import Assessment
from triage_agent.domain.vocabulary import ArtifactKind, Outcome
from triage_agent.results.context import ResultContext
from triage_agent.results.structured_report import build_structured_report
from triage_agent.sections.http import HttpPeerSettings

STUDY = "1.2.840.99.1"
OBJECT = Artifact(kind=ArtifactKind.SR, uid="2.25.1", body=b"an object", summary="")


def report():
    """A structured report as the agent makes it."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"{STUDY}.1.1"
    image.SeriesInstanceUID, image.StudyInstanceUID = f"{STUDY}.1", STUDY
    image.PatientID, image.PatientName, image.AccessionNumber = "P1", "Åkesson^Görel", "A1"
    image.SpecificCharacterSet = "ISO_IR 192"
    scored = Assessment(sop_instance_uid=f"{STUDY}.1.1", outcome=Outcome.SCORED, probability=0.9)
    return build_structured_report(ResultContext(result=story.decision(STUDY), headers=(image,), assessments=(scored,)))


TOKEN = "abc"  # noqa: S105 - for a server that lives as long as a test


def transport_to(**settings):
    return REGISTRY["dicomweb"](HttpPeerSettings(**{"name": "pacs", "timeout_seconds": 20, **settings}).endpoint())


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with orthanc_server(tmp_path_factory.mktemp("orthanc"), dicomweb=True) as running:
        yield running


@pytest.fixture
def to_orthanc(orthanc):
    transport = transport_to(url=f"http://127.0.0.1:{orthanc.web_port}/dicom-web/", user="alice", password=PASSWORD)
    yield transport
    transport.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.mark.external
class TestOrthanc:
    def test_it_keeps_a_report_as_it_was_made_and_a_repeat_is_the_same_object(self, orthanc, to_orthanc):
        artifact = report()
        to_orthanc.send(artifact)
        to_orthanc.send(artifact)
        (kept,) = orthanc.reports(STUDY)
        made = dcmread(BytesIO(artifact.body))
        assert kept.SOPInstanceUID == artifact.uid
        assert kept == made

    def test_what_it_cannot_take_is_refused_with_a_reason_that_is_kept(self, to_orthanc):
        broken = Artifact(kind=ArtifactKind.SR, uid="2.25.9", body=b"no DICOM at all", summary="")
        with pytest.raises(DeliveryError, match=r"400|409|failure reason"):
            to_orthanc.send(broken)

    def test_a_check_reaches_it(self, to_orthanc):
        assert "answers DICOMweb" in to_orthanc.check()

    @pytest.mark.parametrize("call", ["send", "check"])
    def test_a_wrong_password_waits_for_an_admin(self, call, orthanc):
        transport = transport_to(
            url=f"http://127.0.0.1:{orthanc.web_port}/dicom-web", user="alice", password=PASSWORD[1:]
        )
        with pytest.raises(DeliveryError, match="401") as caught:
            transport.send(report()) if call == "send" else transport.check()
        transport.close()
        assert not caught.value.permanent


class TestTls:
    @pytest.fixture
    def pacs(self, authority):
        answer = Said(200, json.dumps({}).encode())
        with http_peer(answer, tls=server_tls(authority.files("pacs"))) as peer:
            yield peer

    def test_both_show_their_certificates(self, authority, pacs):
        certificate, key = authority.issue("triage")
        transport = transport_to(
            url=f"https://localhost:{pacs.port}", ca=authority.ca, certificate=certificate, key=key, token=TOKEN
        )
        transport.send(OBJECT)
        transport.send(OBJECT)
        transport.close()
        assert [asked.headers["authorization"] for asked in pacs.asked] == ["Bearer abc"] * 2
        assert pacs.connections == 1

    def test_without_a_certificate_that_it_wants_nothing_is_sent(self, authority, pacs):
        transport = transport_to(url=f"https://localhost:{pacs.port}", ca=authority.ca)
        with pytest.raises(DeliveryError) as caught:
            transport.send(OBJECT)
        transport.close()
        assert not caught.value.permanent
        assert not pacs.asked

    @pytest.mark.parametrize("wrong", ["ca", "name"])
    def test_a_server_that_is_somebody_else_is_sent_nothing_not_even_the_token(self, wrong, authority, tmp_path):
        files = authority.files("other", hosts=("elsewhere",)) if wrong == "name" else authority.files("pacs")
        trusted = authority.ca if wrong == "name" else Authority(tmp_path / "other").ca
        with http_peer(Said(200), tls=server_tls(files, require_client=False)) as peer:
            transport = transport_to(url=f"https://localhost:{peer.port}", ca=trusted, token=TOKEN)
            with pytest.raises(DeliveryError, match="no TLS connection") as caught:
                transport.send(OBJECT)
            transport.close()
        assert not caught.value.permanent
        assert "certificate" in caught.value.remedy
        assert not peer.asked

    def test_a_file_that_is_missing_is_said_by_what_it_is_for(self, tmp_path, free_port):
        with http_peer(Said(200)) as peer:
            transport = transport_to(url=f"https://localhost:{peer.port}", ca=tmp_path / "gone.pem")
            with pytest.raises(DeliveryError, match="certificate's file cannot be read"):
                transport.send(OBJECT)
            transport.close()
