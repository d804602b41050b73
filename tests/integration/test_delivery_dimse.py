"""Reports to storage servers: dcmtk's storescp, and a pynetdicom one that is told how to fail."""

import subprocess
import time
from contextlib import contextmanager
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pynetdicom import evt
from support.callees import scp
from support.programs import require_program

from triage_agent.delivery.dimse import DimseTransport
from triage_agent.delivery.endpoint import Endpoint
from triage_agent.domain.decision import Artifact
from triage_agent.domain.errors import DeliveryError
from triage_agent.domain.vocabulary import ArtifactKind

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]


def artifact(number=1):
    """The smallest thing that a storage server takes for a report; what is in it is not this suite's business."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SR_CLASS, f"2.25.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Åkesson^Eva", "P1", "SR"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[0]
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return Artifact(kind=ArtifactKind.SR, uid=f"2.25.{number}", body=file.getvalue(), summary="")


@contextmanager
def storage(*answers, classes=(SR_CLASS,)):
    """A server that answers each object with the next status, or aborts on "abort"; after that, with success."""
    script, kept, associations = list(answers), [], []

    def store(event):
        answer = script.pop(0) if script else 0x0000
        if answer == "abort":
            event.assoc.abort()
            return 0xC000
        if answer == 0x0000 or answer & 0xF000 == 0xB000:
            kept.append(str(event.request.AffectedSOPInstanceUID))
        return answer

    contexts = [*((one, SYNTAXES) for one in classes), "1.2.840.10008.1.1"]
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_ESTABLISHED, lambda event: associations.append(event.assoc))]
    with scp(handlers, contexts, ae_title="PACS", seconds=60) as port:
        transport = DimseTransport(Endpoint(host="127.0.0.1", port=port, ae_title="PACS", answer_seconds=20))
        try:
            yield transport, kept, associations
        finally:
            transport.close()


@pytest.mark.external
def test_storescp_keeps_a_report_as_it_was_sent(free_port, tmp_path):
    program = require_program("storescp")
    server = subprocess.Popen([program, "-od", tmp_path, "-aet", "PACS", str(free_port)])
    transport = DimseTransport(Endpoint(host="127.0.0.1", port=free_port, ae_title="PACS"))
    try:
        for _ in range(1000):
            try:
                assert "PACS" in transport.check()
                break
            except DeliveryError:
                time.sleep(0.05)
        transport.send(artifact())
        transport.send(artifact())  # a resend is the same object
    finally:
        transport.close()
        server.terminate()
        server.wait(60)
    (kept,) = tmp_path.iterdir()
    assert str(dcmread(kept).PatientName) == "Åkesson^Eva"


def test_several_reports_go_over_one_association():
    with storage() as (transport, kept, associations):
        for number in range(1, 6):
            transport.send(artifact(number))
        assert kept == [f"2.25.{number}" for number in range(1, 6)]
        assert len(associations) == 1


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0111])
def test_a_warning_or_a_duplicate_is_delivered(status):
    with storage(status) as (transport, _, _):
        transport.send(artifact())


@pytest.mark.parametrize(
    ("status", "permanent"), [(0xA700, False), (0x0110, False), (0x0124, False), (0xA900, True), (0xC000, True)]
)
def test_a_refusal_is_permanent_only_when_the_object_is_at_fault(status, permanent):
    with storage(status) as (transport, kept, associations):
        with pytest.raises(DeliveryError, match=f"0x{status:04X}") as caught:
            transport.send(artifact(1))
        assert caught.value.permanent is permanent
        transport.send(artifact(2))
        assert kept == ["2.25.2"]
        assert len(associations) == 1  # a refusal is no reason to hang up


def test_an_abort_is_tried_again_on_a_new_association():
    with storage(0x0000, "abort", "abort") as (transport, kept, _):
        transport.send(artifact(1))
        with pytest.raises(DeliveryError) as caught:
            transport.send(artifact(2))  # on the kept association, and on a new one
        assert not caught.value.permanent
        transport.send(artifact(2))
        assert kept == ["2.25.1", "2.25.2"]


def test_a_server_that_takes_no_reports_is_told_apart_from_one_that_is_away(free_port):
    with storage(classes=()) as (transport, _, _), pytest.raises(DeliveryError) as caught:
        transport.send(artifact())
    assert caught.value.permanent
    away = DimseTransport(Endpoint(host="127.0.0.1", port=free_port, ae_title="PACS", connect_seconds=1))
    for call in (lambda: away.send(artifact()), away.check):
        with pytest.raises(DeliveryError) as caught:
            call()
        assert not caught.value.permanent


def test_a_server_that_comes_back_is_found_again():
    with storage() as (transport, kept, associations):
        transport.send(artifact(1))
        associations[0].abort()
        transport.send(artifact(2))
        assert kept == ["2.25.1", "2.25.2"]


def test_what_is_no_dicom_file_is_refused_before_it_is_sent():
    with storage() as (transport, kept, _):
        broken = Artifact(kind=ArtifactKind.SR, uid="2.25.1", body=b"no DICOM", summary="")
        with pytest.raises(DeliveryError) as caught:
            transport.send(broken)
        assert caught.value.permanent
        assert kept == []
