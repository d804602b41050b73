"""Studies that come by STOW-RS, and results that leave by STOW-RS and as FHIR resources."""

import http.client
from io import BytesIO

import pytest
from support.fhir_server import fhir_server, validated
from support.orthanc import PASSWORD, orthanc_server
from support.xrays import radiograph

TOKEN = "0123456789abcdef" * 2


def encoded(image):
    written = BytesIO()
    image.save_as(written, enforce_file_format=True)
    return written.getvalue()


def stow(agent, *images):
    """The status that a request with these images is answered with; 0 where nothing answers."""
    parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + encoded(image) + b"\r\n" for image in images]
    headers = {
        "Content-Type": "multipart/related; type=application/dicom; boundary=b",
        "Authorization": f"Bearer {TOKEN}",
    }
    connection = http.client.HTTPConnection("127.0.0.1", agent.web_port, timeout=60)
    try:
        connection.request("POST", "/dicom-web/studies", body=b"".join(parts) + b"--b--\r\n", headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def receiving(**site):
    tokens = f'[[web.tokens]]\nname = "EDGE"\ntoken = "{TOKEN}"\nmay = ["store"]\n'
    return {"web": "stow = true", **site, "tables": site.get("tables", "") + tokens}


@pytest.mark.external
def test_a_study_comes_and_its_results_leave_over_http(agent, alarming_bundle, tmp_path):
    with orthanc_server(tmp_path, dicomweb=True) as orthanc, fhir_server() as (ehr, peer):
        tables = f"""
[[dicomweb.peers]]
name = "archive"
url = "http://127.0.0.1:{orthanc.web_port}/dicom-web"
user = "alice"
password = "{PASSWORD}"
[[fhir.peers]]
name = "ehr"
url = "http://127.0.0.1:{peer.port}/fhir"
[[routes]]
to = "archive"
send = ["sr"]
[[routes]]
to = "ehr"
send = ["fhir"]
"""
        running = agent(bundle=alarming_bundle, **receiving(tables=tables))
        images = [radiograph(seed=number, AccessionNumber=f"A{number}") for number in range(3)]
        assert stow(running, *images) == 200
        items = running.settled(*{image.StudyInstanceUID for image in images})
        assert [item["status"] for item in items] == ["delivered"] * 3
        assert len(ehr.of("DiagnosticReport")) == len(ehr.of("Task")) == 3
        for resource in ehr.resources.values():
            validated({key: value for key, value in resource.items() if key != "meta"})
        assert {one["status"] for one in ehr.of("DiagnosticReport")} == {"preliminary"}  # the flag's was "partial"
        for image, item in zip(images, items, strict=True):
            (report,) = orthanc.reports(image.StudyInstanceUID)
            assert report.PatientID == image.PatientID
            (task,) = (one for one in ehr.of("Task") if one["focus"]["identifier"]["value"] == image.AccessionNumber)
            assert task["priority"] == item["priority"] != "routine"
        done = running.cli("check")
        assert "answers DICOMweb" in done.stdout, done.stdout
        assert "answers FHIR" in done.stdout


def test_what_was_answered_for_survives_a_kill(agent, alarming_bundle):
    running = agent(bundle=alarming_bundle, role="listener", **receiving())
    images = [radiograph(seed=number) for number in range(12)]
    answered = []
    for number, image in enumerate(images):
        if stow(running, image) == 200:
            answered.append(image)
        if number in {4, 8}:
            running.kill()
            running.start()
    assert len(answered) >= 10
    assert [running.item(image.StudyInstanceUID)["instances"] for image in answered] == [1] * len(answered)


def test_a_listener_alone_takes_studies_and_one_without_the_service_does_not(agent, alarming_bundle):
    listener = agent(bundle=alarming_bundle, role="listener", **receiving())
    image = radiograph()
    assert stow(listener, image) == 200
    assert listener.item(image.StudyInstanceUID)["status"] == "receiving"
    web = agent(bundle=alarming_bundle, role="web", **receiving())
    assert stow(web, image) == 503
    plain = agent(bundle=alarming_bundle, role="listener")
    assert stow(plain, image) == 404
